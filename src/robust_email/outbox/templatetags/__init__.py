"""Filters of the outbox's pages."""

"""The orders, step by step."""

"""Adapters from the engine's events to what operators watch. Each is a listener; each but logging is optional."""

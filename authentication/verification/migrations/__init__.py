"""The tables of the codes."""

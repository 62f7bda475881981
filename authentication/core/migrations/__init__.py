"""The tables of the accounts."""

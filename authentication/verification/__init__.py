"""Codes by e-mail: issued, handed over to the relay, redeemed."""

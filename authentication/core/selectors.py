"""Reads on accounts."""

from __future__ import annotations

from authentication.core.models import User, canonical_email


def user_with_email(email: str) -> User | None:
    """Return the active account of this address, however it is written."""
    return User.objects.filter(email=canonical_email(email), is_active=True).first()

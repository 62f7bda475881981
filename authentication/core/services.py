"""Changes to accounts, each one transaction."""

from __future__ import annotations

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.db import IntegrityError, transaction
from django.utils import timezone

from authentication.core.models import User, canonical_email


def create_user(*, email: str, password: str) -> tuple[User, bool]:
    """Return the account of this address and whether it is new; an account that was there is not changed.

    Both ways cost one password hash, so that the time taken does not tell whether an address is known.

    Raises:
        ValidationError: the password is too weak.
    """
    validate_password(password, User(email=canonical_email(email)))
    hashed = make_password(password)
    try:
        with transaction.atomic():
            return User.objects.create(email=canonical_email(email), password=hashed), True
    except IntegrityError:
        return User.objects.get(email=canonical_email(email)), False


def mark_email_verified(*, user: User) -> None:
    """Remember that the owner of the account receives what is mailed to its address."""
    User.objects.filter(pk=user.pk, email_verified_at=None).update(email_verified_at=timezone.now())


def change_password(*, user: User, password: str) -> None:
    """Set a new password.

    Raises:
        ValidationError: it is too weak.
    """
    validate_password(password, user)
    user.set_password(password)
    user.save(update_fields=["password"])

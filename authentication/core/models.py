"""The customer: an e-mail address is the login."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.utils import timezone


def canonical_email(address: str) -> str:
    """Return the one form in which an address is stored and compared.

    Letter case is dropped: no large provider tells ``Ann@`` from ``ann@``, and two accounts that differ by it are an
    attack more often than two people. Dots and ``+tags`` stay: folding them would merge different people's accounts.
    """
    return address.strip().casefold()


class UserManager(BaseUserManager["User"]):
    """Makes users with a canonical address."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> User:
        """Create a user; without a password there is no way to log in."""
        user = self.model(email=canonical_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> User:
        """Create an operator with every permission; asked for by ``manage.py createsuperuser``."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        """Find by address, however it is written."""
        return self.get(email=canonical_email(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """An account. ``email_verified_at`` is None until its owner has shown that the mails arrive."""

    email = models.EmailField(max_length=254, unique=True)
    email_verified_at = models.DateTimeField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    date_joined = models.DateTimeField(default=timezone.now)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        """What the account is called."""

        verbose_name = "customer"

    def __str__(self) -> str:
        """The number: an address does not belong in logs."""
        return f"customer {self.pk}"

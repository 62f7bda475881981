"""The customer: an e-mail address is the login."""

from __future__ import annotations

from typing import ClassVar

import idna
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.utils import timezone


def canonical_email(address: str) -> str:
    """Return the one form in which an address is stored and compared.

    Letter case is dropped: no large provider tells ``Ann@`` from ``ann@``, and two accounts that differ by it are an
    attack more often than two people. A domain is written as DNS has it, so that ``bücher.example`` and
    ``xn--bcher-kva.example`` are one. Dots and ``+tags`` stay: folding them would merge different people's accounts.
    """
    local, at, domain = address.strip().rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            return address.strip().lower()  # no domain at all; the validators say so
    return f"{local}{at}{domain}".lower()


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
    """An account. Whether its address is proven stands in allauth's ``EmailAddress``; unproven, nobody can log in."""

    email = models.EmailField(max_length=254, unique=True)
    language = models.CharField(max_length=16, blank=True)
    """In which the customer is written to: that of his registration. Empty: the project's."""
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

"""Fixtures of the reference service's tests: customers on their devices, their mails, and a relay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from allauth.account.models import EmailAddress
from django.core.cache import cache

from authentication.core.models import User
from tests.service.customers import ADDRESS, PASSWORD, Device

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.testing import Fault, ScriptedServer
    from robust_email.testing.pytest_plugin import ServerFactory

BACKEND = "authentication.core.email_backend.RobustSMTPEmailBackend"
"""pytest-django puts Django's outbox in its place; the relay fixture puts it back."""


@pytest.fixture(autouse=True)
def quick_settings(settings: Settings) -> None:
    """Retry at once, and give up soon: no test waits for a schedule."""
    settings.EMAIL_OUTBOX_RETRY_SCHEDULE = [0, 0, 0, 0, 0]
    settings.EMAIL_CONNECTION_RETRY_DELAY = 0
    settings.EMAIL_TIMEOUT = 5
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.EMAIL_OUTBOX_WAKEUP = "none"
    cache.clear()


@pytest.fixture
def relay(smtp_faults: ServerFactory, settings: Settings) -> Callable[..., ScriptedServer]:
    """Give a factory: a scripted server with these faults, to which the settings point from then on."""

    def start(*faults: Fault, **fields: object) -> ScriptedServer:
        server = smtp_faults(*faults, **fields)
        settings.EMAIL_BACKEND = settings.EMAIL_OUTBOX_BACKEND = BACKEND
        settings.EMAIL_HOST = server.host
        settings.EMAIL_PORT = server.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        return server

    return start


@pytest.fixture
def device(db: None) -> Device:
    """Give the phone or computer of somebody who was never here."""
    return Device()


@pytest.fixture
def customer(db: None) -> User:
    """Give a customer whose address is proven."""
    user = User.objects.create_user(ADDRESS, PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user

"""Fixtures of the reference service's tests: customers on their devices, their mails, and a relay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django
import pytest
from allauth.account.models import EmailAddress
from django.core.cache import cache

from authentication.core.models import User
from authentication.verification import kinds
from authentication.verification.services import mail_customer
from tests.service.customers import ADDRESS, PASSWORD, Device

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.outbox.models import OutboxMessage
    from robust_email.testing import Fault, ScriptedServer
    from robust_email.testing.pytest_plugin import ServerFactory

BACKEND = "authentication.core.email_backend.RobustSMTPEmailBackend"
"""pytest-django puts Django's outbox in its place; the relay fixture puts it back."""


def point_at(settings: Settings, host: str, port: int, backend: str = BACKEND) -> None:
    """Let mail be handed over there, in the words of the Django that is installed."""
    if django.VERSION >= (6, 1):
        own = {"timeout": 5, "connection_retry_delay": 0} if backend == BACKEND else {"timeout": 5}
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": {"host": host, "port": port, **own}}}
        return
    settings.EMAIL_BACKEND = settings.EMAIL_OUTBOX_BACKEND = backend
    settings.EMAIL_HOST, settings.EMAIL_PORT = host, port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
    settings.EMAIL_TIMEOUT, settings.EMAIL_CONNECTION_RETRY_DELAY = 5, 0


@pytest.fixture(autouse=True)
def quick_settings(settings: Settings) -> None:
    """Retry at once, and give up soon: no test waits for a schedule."""
    settings.EMAIL_OUTBOX_RETRY_SCHEDULE = [0, 0, 0, 0, 0]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.EMAIL_OUTBOX_WAKEUP = "none"
    cache.clear()


@pytest.fixture
def relay(smtp_faults: ServerFactory, settings: Settings) -> Callable[..., ScriptedServer]:
    """Give a factory: a scripted server with these faults, to which the settings point from then on."""

    def start(*faults: Fault, **fields: object) -> ScriptedServer:
        server = smtp_faults(*faults, **fields)
        point_at(settings, server.host, server.port)
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


@pytest.fixture
def mail() -> OutboxMessage:
    """Give a mail with a code, as a registration writes it."""
    row = mail_customer(
        kind=kinds.VERIFICATION,
        template="account/email/email_confirmation_signup",
        to=ADDRESS,
        context={"code": "WXRT-KPLM"},
    )
    assert row is not None
    return row

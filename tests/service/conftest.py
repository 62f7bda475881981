"""Fixtures of the reference service's tests: a customer, his code, and a relay that the settings point at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache

from authentication.core.models import User
from authentication.verification.models import Purpose, VerificationCode
from authentication.verification.services import issue_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.testing import Fault, ScriptedServer
    from robust_email.testing.pytest_plugin import ServerFactory

PASSWORD = "CANARY-password-of-the-customer"
ADDRESS = "canary.customer@customer.example"

BACKEND = "authentication.core.email_backend.RobustSMTPEmailBackend"
"""pytest-django puts Django's outbox in its place; the relay fixture puts it back."""


@pytest.fixture(autouse=True)
def quick_settings(settings: Settings) -> None:
    """Retry at once, and give up soon: no test waits for a schedule."""
    settings.EMAIL_TASK_RETRY_SCALE = 0
    settings.EMAIL_CONNECTION_RETRY_DELAY = 0
    settings.EMAIL_TIMEOUT = 5
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


@pytest.fixture
def relay(smtp_faults: ServerFactory, settings: Settings) -> Callable[..., ScriptedServer]:
    """Give a factory: a scripted server with these faults, to which the settings point from then on."""

    def start(*faults: Fault, **fields: object) -> ScriptedServer:
        server = smtp_faults(*faults, **fields)
        settings.EMAIL_BACKEND = BACKEND
        settings.EMAIL_HOST = server.host
        settings.EMAIL_PORT = server.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        return server

    return start


@pytest.fixture
def customer(db: None) -> User:
    """Give a customer whose address is not verified."""
    return User.objects.create_user(ADDRESS, PASSWORD)


@pytest.fixture
def code(customer: User) -> VerificationCode:
    """Give the code that was just issued to the customer; no task was enqueued, since the test never commits."""
    issued = issue_code(user=customer, purpose=Purpose.VERIFY_EMAIL)
    assert issued is not None
    return issued

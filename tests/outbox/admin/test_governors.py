"""What the dashboard shows of a relay's governor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMessage

from robust_email.backend import RobustSMTPEmailBackend
from robust_email.outbox.dashboard.governors import governed
from tests.outbox.admin.conftest import DASHBOARD, make_mail

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import Settings

    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def governor(settings: Settings, smtp_server: ScriptedServer) -> ScriptedServer:
    """Let all workers share three connections and a thousand mails an hour, through the database."""
    settings.EMAIL_BACKEND = "robust_email.outbox.backend.OutboxEmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = smtp_server.host, smtp_server.port
    settings.EMAIL_GOVERNOR = "database"
    settings.EMAIL_MAX_CONNECTIONS = 3
    settings.EMAIL_RATE_LIMIT = "1000/h"
    return smtp_server


def test_what_is_shared_is_shown(governor: ScriptedServer, operator: Client) -> None:
    """The breaker's state, the connections and the rate are those that the workers share; looking opens no session."""
    make_mail()
    RobustSMTPEmailBackend(alias=None).send_messages(
        [EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"])]
    )
    opened = governor.connections
    [found] = governed("default")
    assert found.endpoint == f"127.0.0.1:{governor.port}"
    assert (found.state.circuit, found.circuit, found.state.connection_limit) == ("closed", "accepted", 3)
    assert [rate.used for rate in found.state.rates] == [1]
    page = operator.get(DASHBOARD).content.decode()
    assert "circuit closed" in page
    assert "of 3 connection" in page
    assert governor.connections == opened


def test_what_is_not_shared_is_not_shown(governor: ScriptedServer, settings: Settings) -> None:
    """A governor of this process alone, a relay by reference and one that can't be built have nothing to show."""
    assert governed("ref:7") == []
    assert governed("mailer:nobody") == []
    settings.EMAIL_GOVERNOR = "memory"
    assert governed("default") == []
    settings.EMAIL_OUTBOX_BACKEND = "no.such.Backend"
    assert governed("default") == []


def test_another_backend_has_no_governor(settings: Settings) -> None:
    """Django's own backend is not asked."""
    settings.EMAIL_OUTBOX_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert governed("default") == []

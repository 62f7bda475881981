"""A project with an outbox, a relay that keeps a ledger, and the list of the suppressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robust_email.outbox import enqueue
from robust_email.outbox.dispatch import run_one
from robust_email.outbox.models import OutboxMessage
from tests.suppression.letters import ANN, OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.testing import ScriptedServer


@pytest.fixture
def relay(transactional_db: None, smtp_server: ScriptedServer, settings: Settings) -> ScriptedServer:
    """Give the SMTP server that the outbox hands over to."""
    settings.EMAIL_BACKEND = "robust_email.outbox.backend.OutboxEmailBackend"
    settings.EMAIL_HOST = smtp_server.host
    settings.EMAIL_PORT = smtp_server.port
    settings.EMAIL_CONNECTION_RETRY_ATTEMPTS = 1
    settings.EMAIL_TIMEOUT = 5
    return smtp_server


@pytest.fixture
def mailed(relay: ScriptedServer) -> Callable[..., OutboxMessage]:
    """Give a function that writes a mail and hands it over; it returns the row as it is then."""
    from django.core.mail import EmailMessage

    def mailed(*to: str, message_id: str = OURS, kind: str = "", sender: str = "shop@example.org") -> OutboxMessage:
        headers = {"Message-ID": message_id}
        row = enqueue(EmailMessage("Your order", "Thank you.", sender, list(to) or [ANN], headers=headers), kind=kind)
        run_one(row.pk)
        return OutboxMessage.objects.get(pk=row.pk)

    return mailed

"""A project with an outbox, a relay that keeps a ledger, and the list of the suppressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.db import connections

from robust_email.outbox import enqueue
from robust_email.outbox.dispatch import run_one
from robust_email.outbox.models import OutboxMessage
from tests.outbox.databases import configuration, url_of_sqlite
from tests.suppression.letters import ANN, OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.db.models import Model
    from pytest_django import DjangoDbBlocker, Settings

    from robust_email.testing import ScriptedServer


ALIAS, APP = "suppression", "robust_email_suppression"


class ToAlias:
    """A database router: the list of the suppressed has a database of its own."""

    def db_for_read(self, model: type[Model], **_: object) -> str | None:
        """Read there too."""
        return self.db_for_write(model)

    def db_for_write(self, model: type[Model], **_: object) -> str | None:
        """Send this app's models there."""
        return ALIAS if model._meta.app_label == APP else None


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def own_database(
    request: pytest.FixtureRequest, tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Give the app a database of its own, of each kind, with empty tables."""
    url = url_of_sqlite(tmp_path) if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    default = connections.databases["default"]
    made = connections.configure_settings({"default": default, ALIAS: configuration(url)})
    connections.databases[ALIAS] = made[ALIAS]
    settings.DATABASE_ROUTERS = [ToAlias()]
    with django_db_blocker.unblock():
        call_command("migrate", APP, database=ALIAS, verbosity=0)
        yield
        call_command("migrate", APP, "zero", database=ALIAS, verbosity=0)
        connections[ALIAS].close()
    del connections[ALIAS]
    del connections.databases[ALIAS]


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

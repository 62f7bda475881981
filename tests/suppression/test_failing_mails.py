"""A mail that cannot be dealt with stops none behind it, and a database that is away stops all."""

from __future__ import annotations

from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import DataError, OperationalError, connection, connections

from robust_email.outbox import enqueue
from robust_email.outbox.dispatch import run_one
from robust_email.suppression import process_bounce
from robust_email.suppression.selectors import is_suppressed
from robust_email.suppression.services import BounceOutcome
from tests.outbox.databases import configuration
from tests.services import postgres_database
from tests.suppression.letters import ANN, BOB, OURS, bounce, group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.db.models import Model
    from pytest_django import DjangoDbBlocker, Settings

    from robust_email.outbox.models import OutboxMessage
    from robust_email.testing import ScriptedServer

    Mailed = Callable[..., OutboxMessage]

ALIAS, APPS = "elsewhere", ("robust_email_outbox", "robust_email_suppression")
BADLY_TAKEN = "<badly.taken@shop.example>"


class Elsewhere:
    """A database router: the outbox and the list of the suppressed are in one database, which is not the default."""

    def db_for_read(self, model: type[Model], **_: object) -> str | None:
        """Read there too."""
        return self.db_for_write(model)

    def db_for_write(self, model: type[Model], **_: object) -> str | None:
        """Send these apps' models there."""
        return ALIAS if model._meta.app_label in APPS else None


@contextmanager
def elsewhere(url: str, settings: Settings) -> Iterator[None]:
    """Have both apps in this database."""
    default = connections.databases["default"]
    made = connections.configure_settings({"default": default, ALIAS: configuration(url)})
    connections.databases[ALIAS] = made[ALIAS]
    settings.DATABASE_ROUTERS = [Elsewhere()]
    try:
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


@pytest.fixture
def on_postgres(
    django_db_setup: None,
    smtp_server: ScriptedServer,
    settings: Settings,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Have both apps in a PostgreSQL, which refuses texts that others take; a relay took a mail to Ann."""
    settings.EMAIL_HOST, settings.EMAIL_PORT = smtp_server.host, smtp_server.port
    with postgres_database() as url, django_db_blocker.unblock(), elsewhere(url, settings):
        for app in APPS:
            call_command("migrate", app, database=ALIAS, verbosity=0)
        mail = EmailMessage("Your order", "Thank you.", "shop@example.org", [ANN], headers={"Message-ID": OURS})
        run_one(enqueue(mail).pk)
        yield


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """Give an empty Maildir."""
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def put(maildir: Path, *mails: bytes) -> None:
    """Let these mails arrive, in this order."""
    for number, raw in enumerate(mails, 1):
        (maildir / "new" / f"{number}.host").write_bytes(raw)


def read(maildir: Path) -> str:
    """Run the command; return what it said."""
    said = StringIO()
    call_command("email_bounces", "--maildir", str(maildir), stdout=said)
    return said.getvalue().strip()


@contextmanager
def trouble_with(message_id: str) -> Iterator[None]:
    """Let the database refuse each statement that names this Message-ID."""

    def refuse(execute: Callable[..., object], sql: str, params: Any, many: bool, context: object) -> object:  # noqa: ANN401, FBT001 - Django's signature
        if message_id in (params or ()):
            raise DataError("the database does not like it")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


@pytest.mark.postgres
def test_no_octet_in_a_mail_makes_postgresql_fail(on_postgres: None, maildir: Path) -> None:
    """Whatever stands in the Message-ID, an address or a code: a webhook does not fail, and those behind are read."""
    hostile = [bounce(message_id=f"<1{chr(octet)}@shop.example>") for octet in (0, 1, 0x7F)]
    hostile += [bounce(group(f"ann\0{chr(octet)}@example.net", "5.1.1\0", "failed\0")) for octet in (0, 0x80)]
    assert {process_bounce(raw).outcome for raw in hostile} <= {BounceOutcome.FORGED, BounceOutcome.MALFORMED}
    put(maildir, *hostile, bounce())
    assert read(maildir).startswith("6 mails read: 1 suppressed, ")
    assert is_suppressed(ANN)


def test_a_mail_that_fails_is_left_aside(mailed: Mailed, maildir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by its name, stays new and makes the command fail, after those behind it; the next run has it."""
    mailed(ANN)
    mailed(BOB, message_id=BADLY_TAKEN)
    put(maildir, bounce(group(BOB), message_id=BADLY_TAKEN), bounce())
    with trouble_with(BADLY_TAKEN), pytest.raises(CommandError, match="1 mails failed and stay unseen"):
        read(maildir)
    assert (is_suppressed(ANN), is_suppressed(BOB)) == (True, False)
    assert [path.name for path in (maildir / "new").iterdir()] == ["1.host"]
    [record] = [record for record in caplog.records if record.name == "robust_email.suppression"]
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        "Mail 1.host could not be dealt with, and stays unread",
    )
    assert read(maildir) == "1 mails read: 1 suppressed"
    assert is_suppressed(BOB)


def test_while_the_database_is_away_no_mail_is_tried(
    django_db_blocker: DjangoDbBlocker, settings: Settings, maildir: Path
) -> None:
    """The first mail shows it; thousands of others need not wait for a time-out each, and all stay new."""
    put(maildir, bounce(message_id=OURS), bounce())
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    with django_db_blocker.unblock(), elsewhere(nowhere, settings), pytest.raises(OperationalError):
        read(maildir)
    assert len(list((maildir / "new").iterdir())) == 2

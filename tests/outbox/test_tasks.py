"""How long a Celery task waits for its time, seen at a broker in memory: there no worker takes what was published."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from django.core.mail import EmailMessage
from django.utils import timezone

from robust_email.outbox import enqueue
from robust_email.outbox.tasks import FEW, CeleryWakeUp, deliver
from robust_email.testing import At, Fault, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import Settings

    from robust_email.outbox.models import OutboxMessage
    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)


@pytest.fixture
def app() -> Iterator[Celery]:
    """Give an application with a queue of its own."""
    made = Celery("outbox-tests", broker="memory://")
    made.set_default()
    made.conf.task_default_queue = f"outbox-{secrets.token_hex(6)}"
    yield made
    made.close()


def published(app: Celery) -> list[dict[str, Any]]:
    """Take what the queue holds; return the headers."""
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(app.conf.task_default_queue)
        found = []
        while queue.qsize():
            message = queue.get_nowait()
            message.ack()
            found.append(message.headers)
        queue.close()
    return found


def one_mail() -> OutboxMessage:
    """Put one into the outbox."""
    return enqueue(EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"]))


def test_mail_that_goes_soon_has_a_task(outbox_url: str, app: Celery) -> None:
    """It is begun just after its time; for many mails at once none is."""
    row = one_mail()
    CeleryWakeUp().notify_later([row.pk], 60)
    [headers] = published(app)
    assert str(row.pk) in headers["argsrepr"]
    eta = datetime.fromisoformat(headers["eta"])
    assert timedelta(seconds=55) < eta - timezone.now() < timedelta(seconds=62)
    CeleryWakeUp().notify_later([row.pk] * (FEW + 1), 60)
    assert published(app) == []


@pytest.mark.parametrize(("delay", "status"), [(1_000, "skipped"), (7_200, "queued")])
def test_no_task_waits_for_long(  # noqa: PLR0917 - pytest passes by name
    outbox_url: str, relay: ScriptedServer, app: Celery, settings: Settings, delay: float, status: str
) -> None:
    """Celery is the timer of a retry that is due within half an hour; of a later one the sweep is.

    Run at once, a task that is to come back does so before its time, and finds nothing to do.
    """
    settings.EMAIL_OUTBOX_RETRY_SCHEDULE = [delay]
    relay.add_fault(Fault(At.MAIL, Reply("451 4.7.1 later"), times=1))
    row = one_mail()
    assert deliver.apply(args=[str(row.pk)]).result["status"] == status
    row.refresh_from_db()
    assert (row.state, row.retries) == ("queued", 1)

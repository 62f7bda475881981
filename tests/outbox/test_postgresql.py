"""PostgreSQL's one statement does what the ORM's handful does, column by column, and nothing where it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core.mail import EmailMessage, send_mail
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from robust_email import outbox
from robust_email.outbox import postgresql
from robust_email.outbox.backend import OutboxEmailBackend
from robust_email.outbox.database import database
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.outbox.services import claims, settling
from robust_email.outbox.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.models import Model
    from pytest_django import Settings

    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)

_OF_ITS_OWN = {
    "id",
    "message_id",
    "content",
    "content_size",
    "lease_token",
    "lease_owner",
    "worker",
    "seconds",
    "reply",
}
"""What differs from mail to mail, and how long it took."""


def picture(rows: Iterable[Model]) -> list[dict[str | None, Any]]:
    """Return what must be alike; of times, whether they are set and near."""
    now = timezone.now()
    return [
        {
            field.column: abs((value - now).total_seconds()) < 60 if hasattr(value, "tzinfo") else value
            for field in row._meta.concrete_fields
            if field.column not in _OF_ITS_OWN and (value := getattr(row, field.attname), True)[1]
        }
        for row in rows
    ]


def everything() -> tuple[list[dict[str | None, Any]], ...]:
    """Return what the three tables hold, in the order of the mails."""
    return (
        picture(OutboxMessage.objects.order_by("pk")),
        picture(OutboxRecipient.objects.order_by("message_id", "position")),
        picture(SubmissionAttempt.objects.order_by("message_id")),
    )


def mails() -> Iterator[EmailMessage]:
    """Give three, with one, two, and more recipients than are spelled out one by one."""
    for number, recipients in enumerate((1, 2, 9)):
        to = [f"ann{number}.{each}@example.org" for each in range(recipients)]
        yield EmailMessage(f"Nr {number} \u2713", "Hällo\n", "shop@example.org", to)


def attempt_at(row: OutboxMessage, code: int = 250) -> dict[str, Any]:
    """Return the columns of an attempt that came to an acceptance."""
    blank = {field.attname: field.get_default() for field in SubmissionAttempt._meta.concrete_fields}
    return {**blank, "message_id": row.pk, "disposition": "accepted", "code": code, "reply": f"{code} {row.pk}"}


@pytest.fixture(params=["sensitive", "none"])
def scrub(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Remove no body, or those of sensitive mails."""
    settings.EMAIL_OUTBOX_SCRUB = request.param
    return str(request.param)


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
def test_both_ways_leave_the_same_rows(
    relay: ScriptedServer, scrub: str, monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    """Written and settled by one statement or by the ORM, the three tables hold the same, bodies removed or not."""
    found = []
    for at_once in (True, False):
        monkeypatch.setattr(postgresql, "is_in_use", lambda _using, answer=at_once: answer)
        messages = list(mails())
        for message in messages:
            vars(message)["outbox_options"] = {"sensitive": "1" in message.subject, "kind": "greeting"}
        for several in [messages] if together else [[message] for message in messages]:
            assert OutboxEmailBackend().send_messages(several) == len(several)
        written = everything()
        assert run_batch().states == {State.ACCEPTED: 3}
        assert [row.content is None for row in OutboxMessage.objects.order_by("pk")] == [
            False,
            scrub == "sensitive",
            False,
        ]
        found.append((written, everything()))
        OutboxMessage.objects.all().delete()
    assert found[0] == found[1]


def test_a_mail_is_one_statement(relay: ScriptedServer) -> None:
    """Outside a transaction ``send_mail()`` is a single statement, which is a transaction by itself."""
    with CaptureQueriesContext(connections[database()]) as queries:
        send_mail("Hello", "Hello\n", "shop@example.org", ["ann@example.org"])
    assert len(queries) == 1
    assert OutboxMessage.objects.get().recipients.get().address == "ann@example.org"


def test_inside_a_transaction_it_is_the_callers(relay: ScriptedServer) -> None:
    """A rollback of the caller's leaves nothing."""
    with transaction.atomic(using=database()):
        send_mail("Hello", "Hello\n", "shop@example.org", ["ann@example.org"])
        transaction.set_rollback(True, using=database())
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize("foreign", ["the accepted", "the mark"])
def test_unless_all_are_ours_nothing_changes(relay: ScriptedServer, foreign: str) -> None:
    """One mail with another worker's token, and neither the accepted nor the mark is written."""
    for message in mails():
        outbox.enqueue(message)
    claim = claims.claim(3)
    one, other, _ = claim.rows
    OutboxMessage.objects.filter(pk=(one if foreign == "the accepted" else other).pk).update(lease_token=uuid4())
    before = everything()
    assert not postgresql.settle(claim.token, {one.pk: attempt_at(one)}, [], [other.pk], database())
    assert everything() == before


def test_a_mark_that_is_not_ours_stops_the_mail(relay: ScriptedServer) -> None:
    """A lost lease is said as such also where the mark is all there was to write."""
    outbox.enqueue(next(mails()))
    claim = claims.claim(1)
    OutboxMessage.objects.update(lease_token=uuid4())
    with pytest.raises(claims.LeaseLost, match="1 of 1"):
        settling.settle(claim, [], [claim.rows[0].pk], database())


def test_replies_that_differ_are_kept_apart(relay: ScriptedServer) -> None:
    """Mails of one window that were accepted with different codes are still one statement, each with its own."""
    for message in mails():
        outbox.enqueue(message)
    claim = claims.claim(3)
    attempts = {row.pk: attempt_at(row, code) for row, code in zip(claim.rows, (250, 251, 250), strict=True)}
    with CaptureQueriesContext(connections[database()]) as queries:
        assert postgresql.settle(claim.token, attempts, [], [], database())
    assert len(queries) == 1
    for row, code in zip(claim.rows, (250, 251, 250), strict=True):
        assert set(row.recipients.values_list("standing", "code")) == {("accepted", code)}
        assert row.submission_attempts.get().reply == f"{code} {row.pk}"

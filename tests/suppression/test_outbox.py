"""S32: mail for a suppressed address ends in the outbox, and whoever writes it learns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.mail import EmailMessage, send_mail
from django.db import Error, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from robust_email.outbox import enqueue, gate
from robust_email.outbox.dispatch import run_batch, run_one
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.outbox.services import claims, operating
from robust_email.outbox.services.withholding import withhold
from robust_email.outbox.signals import settled
from robust_email.suppression.models import SuppressedAddress
from robust_email.suppression.services import lift, suppress
from robust_email.testing import At, Fault, Reply
from tests.suppression.letters import ANN, BOB

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import pytest
    from pytest_django import Settings

    from robust_email.outbox.gate import Asked
    from robust_email.testing import ScriptedServer

    Mailed = Callable[..., OutboxMessage]


def paths(relay: ScriptedServer) -> list[tuple[str, ...]]:
    """Return for whom the relay took something, mail by mail."""
    return [message.forward_paths for message in relay.accepted]


def test_s32_a_suppressed_recipient_is_refused_here(relay: ScriptedServer, mailed: Mailed) -> None:
    """S32: the relay is not even connected to; the row is REFUSED with the reason, and no attempt was made."""
    suppress(ANN)
    row = mailed(ANN)
    assert (row.state, row.reason, row.attempts) == ("refused", "suppressed: a person's decision", 0)
    to = OutboxRecipient.objects.get()
    assert (to.standing, to.code, to.reason) == ("refused", None, "suppressed: a person's decision")
    assert relay.connections == 0
    assert not SubmissionAttempt.objects.exists()


def test_s32_the_others_get_their_mail(relay: ScriptedServer, mailed: Mailed) -> None:
    """S32: of a mail for two, the one who is not suppressed gets it, and the row says PARTLY."""
    suppress(ANN)
    assert mailed(ANN, BOB).state == "partly"
    assert paths(relay) == [(BOB,)]
    assert dict(OutboxRecipient.objects.values_list("address", "standing")) == {ANN: "refused", BOB: "accepted"}


def test_s32_a_batch_goes_on(relay: ScriptedServer) -> None:
    """S32: in a batch the suppressed one's mail ends, the rest are handed over, and both are counted and announced."""
    suppress(ANN)
    for to in (BOB, ANN, BOB):
        send_mail("hi", "there", "shop@example.org", [to])
    told: list[str] = []

    def listen(message: OutboxMessage, **_: object) -> None:
        told.append(message.state)

    settled.connect(listen)
    try:
        tally = run_batch()
    finally:
        settled.disconnect(listen)
    assert (tally.claimed, dict(tally.states)) == (3, {"refused": 1, "accepted": 2})
    assert sorted(told) == ["accepted", "accepted", "refused"]
    assert paths(relay) == [(BOB,), (BOB,)]


def test_s32_the_answer_tells_nothing(relay: ScriptedServer) -> None:
    """S32: writing a mail for a suppressed address gives the same answer, rows, and statements as for any other."""
    suppress(ANN)
    seen = []
    for to in (ANN, BOB):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = send_mail("hi", "there", "shop@example.org", [to])
        statements = [query["sql"].split("(")[0] for query in queries]
        seen.append((answer, statements, OutboxMessage.objects.filter(recipients__address=to).get().state))
    assert seen[0] == seen[1]
    assert seen[0][2] == "queued"


def test_s32_exempt_kinds_go_all_the_same(relay: ScriptedServer, mailed: Mailed, settings: Settings) -> None:
    """S32: mail of a kind that the project exempts, a security notice, reaches the relay; other kinds do not."""
    settings.EMAIL_SUPPRESSION_EXEMPT_KINDS = ["security"]
    suppress(ANN)
    assert mailed(ANN, kind="security").state == "accepted"
    assert mailed(ANN, kind="order", message_id="<2@shop.example>").state == "refused"
    assert paths(relay) == [(ANN,)]


def test_s32_from_the_first_refusal_to_the_second_mail(relay: ScriptedServer, mailed: Mailed) -> None:
    """S32: one 5.1.1, and the next mail is not offered; lifted, it goes when it is queued again."""
    relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 No such user"), times=1))
    assert mailed(ANN).reason == "550 5.1.1 No such user"
    row = mailed(ANN, message_id="<2@shop.example>")
    assert row.reason == "suppressed: refused for good 5.1.1"
    lift(SuppressedAddress.objects.get())
    operating.requeue(row.pk)
    run_one(row.pk)
    assert paths(relay) == [(ANN,)]


def test_a_recipient_in_doubt_is_left_as_he_is(relay: ScriptedServer, mailed: Mailed) -> None:
    """Who may have the mail is not called refused because he was suppressed since."""
    row = mailed(ANN)
    OutboxRecipient.objects.update(standing="in-doubt")
    OutboxMessage.objects.update(state="queued", next_attempt_at=row.finished_at, finished_at=None)
    suppress(ANN)
    run_one(row.pk)
    assert OutboxMessage.objects.get().state == "accepted"
    assert len(relay.accepted) == 2


def test_a_malformed_address_stops_nobody(relay: ScriptedServer) -> None:
    """A row whose address was broken in the database ends alone; the mail beside it is accepted."""
    for to in (ANN, BOB):
        send_mail("hi", "there", "shop@example.org", [to])
    OutboxRecipient.objects.filter(address=ANN).update(address="not an address <")
    run_batch()
    assert paths(relay) == [(BOB,)]


def test_where_the_list_cannot_be_read_mail_goes(
    relay: ScriptedServer, mailed: Mailed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A guard that fails keeps nobody back, and an ERROR says so: a password reset must leave."""

    def away(asked: Collection[Asked]) -> Mapping[Asked, str]:
        raise Error("no such table")

    monkeypatch.setattr(gate, "_guards", [away])
    assert mailed(ANN).state == "accepted"
    assert "Who is suppressed cannot be read" in caplog.text


def test_a_mail_that_is_not_ours_any_more_is_left_alone(relay: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the lease went to somebody else in between, neither the row nor its recipients are changed."""
    suppress(ANN)
    row = enqueue(EmailMessage("Hi", "there", "shop@example.org", [ANN]))
    [guard] = gate._guards

    def late(asked: Collection[Asked]) -> Mapping[Asked, str]:
        OutboxMessage.objects.update(lease_token=row.pk)
        return guard(asked)

    monkeypatch.setattr(gate, "_guards", [late])
    assert run_one(row.pk) is None
    assert OutboxMessage.objects.get().state == "claimed"
    assert OutboxRecipient.objects.get().standing == "pending"


def test_while_the_database_is_away_nothing_is_handed_over(relay: ScriptedServer) -> None:
    """If a refusal cannot be written down, it is tried again; who has to end meanwhile hands over nothing of it."""
    suppress(ANN)
    enqueue(EmailMessage("Hi", "there", "shop@example.org", [ANN, BOB]))
    claim = claims.claim(1)
    away = [True, False]

    def unreachable(execute: Callable[..., object], sql: str, *rest: object) -> object:
        if sql.startswith("UPDATE") and away.pop(0):
            raise OperationalError("the database is away")
        return execute(sql, *rest)

    with connection.execute_wrapper(unreachable):
        left, ended = withhold(claim, lambda: True)
    assert (left.rows, ended) == ((), [])
    assert OutboxRecipient.objects.filter(standing="pending").count() == 2
    for row in claim.recipients.values():
        for to in row:
            to.standing = OutboxRecipient.Standing.PENDING
    away[:] = [True, False]
    with connection.execute_wrapper(unreachable):
        left, ended = withhold(claim, lambda: False)
    assert (len(left.rows), ended) == (1, [])
    assert OutboxRecipient.objects.get(standing="refused").address == ANN

"""The two mail tasks against a relay that misbehaves, in this process (V4, V12, V28-V30)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from allauth.account.signals import email_confirmation_sent
from celery import current_app
from celery.exceptions import Retry
from django.utils import timezone

from authentication.core.models import User
from authentication.verification import kinds
from authentication.verification.services import mail_customer
from authentication.verification.tasks import (
    MailNotAccepted,
    purge,
    send_password_reset_email,
    send_verification_email,
    sweep,
)
from e_commerce_api import settings as project
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.services.claims import claim
from robust_email.outbox.services.operating import cancel
from robust_email.outbox.states import State
from robust_email.outbox.wakeup import publisher
from robust_email.testing import At, Close, Extensions, Fault, Reply, ScriptedServer, TakeThenClose
from tests.service.conftest import point_at
from tests.service.customers import ADDRESS, Device, mails

if TYPE_CHECKING:
    from pytest_django import Settings

Relay = Callable[..., ScriptedServer]

pytestmark = pytest.mark.django_db(transaction=True)

ATTEMPT = "E-mail attempt"


def run(row: OutboxMessage) -> dict[str, object]:
    """Run the task with all its retries; raises what it ends with."""
    try:
        result: dict[str, object] = send_verification_email.apply(args=(str(row.pk),)).get()
    finally:
        row.refresh_from_db()
    return result


def test_an_accepted_mail_is_a_success(mail: OutboxMessage, relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    """One attempt, the result that the brief shows, and the body with the code is gone."""
    server = relay()
    with caplog.at_level("INFO", "authentication"):
        result = run(mail)
    (received,) = server.accepted
    assert result == {"status": "success", "message_id": received.message_id, "message": str(mail.pk)}
    assert (mail.state, mail.content) == (State.ACCEPTED, None)
    assert f"{ATTEMPT} 1 for verification mail {received.message_id}: accepted" in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        Fault(At.MAIL, Reply("451 4.7.1 later"), times=2),
        Fault(At.RCPT, Reply("450 4.2.0 greylisted"), times=2),
        Fault(At.BEFORE_FINAL, Reply("452 4.3.1 no room"), times=2),
    ],
)
def test_a_transient_failure_is_retried(
    mail: OutboxMessage, relay: Relay, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """4yz twice: two retries, one mail, one Message-ID, and each attempt is numbered in the log."""
    server = relay(fault)
    run(mail)
    assert (mail.state, mail.attempts, len(server.accepted)) == (State.ACCEPTED, 3, 1)
    words = [record.getMessage() for record in caplog.records if record.getMessage().startswith(ATTEMPT)]
    assert [line.split()[2] for line in words[:2]] == ["1", "2"]
    assert all("transient failure, safe to try again" in line for line in words[:2])


def test_a_permanent_failure_is_not_retried(
    mail: OutboxMessage, relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    """550: one attempt; the log says that trying again cannot help, and holds no address."""
    server = relay(Fault(At.RCPT, Reply(f"550 5.1.1 <{ADDRESS}> unknown")))
    with pytest.raises(MailNotAccepted) as raised:
        run(mail)
    assert (mail.state, mail.attempts, server.accepted) == (State.REFUSED, 1, [])
    assert "permanent failure, trying again cannot help" in caplog.text
    assert ADDRESS not in caplog.text + str(raised.value)


def test_five_retries_and_no_sixth(mail: OutboxMessage, relay: Relay) -> None:
    """451 for ever: six attempts, then given up."""
    server = relay(Fault(At.RCPT, Reply("451 4.7.1 later")))
    with pytest.raises(MailNotAccepted):
        run(mail)
    assert (mail.state, mail.attempts, server.accepted) == (State.DEAD, 6, [])


def test_the_retry_waits_as_the_row_says(mail: OutboxMessage, relay: Relay, settings: Settings) -> None:
    """After the first failure Celery is told 60 seconds, and the row says the same."""
    settings.EMAIL_OUTBOX_RETRY_SCHEDULE = [60, 120, 240, 300, 300]
    relay(Fault(At.RCPT, Reply("451 4.7.1 later")))
    before = timezone.now()
    with pytest.raises(Retry) as raised:
        send_verification_email.apply(args=(str(mail.pk),), throw=True)
    mail.refresh_from_db()
    wait: Any = raised.value.when
    assert 59 <= wait <= 60
    assert mail.next_attempt_at is not None
    assert timedelta(seconds=59) <= mail.next_attempt_at - before < timedelta(seconds=65)


def test_a_mail_in_doubt_comes_again_as_the_same_octets(mail: OutboxMessage, relay: Relay) -> None:
    """The server took it and hung up: the copy that follows is the same to the octet, under one Message-ID."""
    server = relay(Fault(At.FINAL, TakeThenClose(), times=1))
    run(mail)
    first, second = server.accepted
    assert first.data == second.data
    assert (mail.state, mail.doubts) == (State.ACCEPTED, 1)


def test_v04_a_relay_that_is_away_costs_a_registration_nothing(relay: Relay, settings: Settings) -> None:
    """SMTP is not spoken in the request: the answer is the usual one, the row waits, and the mail comes later."""
    server = relay()
    point_at(settings, server.host, 1)
    assert Device().sign_up().status_code == 401
    (mail,) = mails()
    with pytest.raises(MailNotAccepted):
        run(mail)
    mail.refresh_from_db()
    assert mail.state == State.QUEUED, "an outage uses up no retry: the row still waits"
    point_at(settings, server.host, server.port)
    assert run(mail)["status"] == "success"


@pytest.mark.parametrize("spoiled", ["expired", "superseded", "cancelled", "gone"])
def test_v12_a_code_that_is_of_no_use_is_not_mailed(mail: OutboxMessage, relay: Relay, spoiled: str) -> None:
    """A late retry of a dead code speaks to no server."""
    server = relay()
    match spoiled:
        case "expired":
            OutboxMessage.objects.filter(pk=mail.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        case "superseded":
            mail_customer(
                kind=kinds.VERIFICATION,
                template="account/email/email_confirmation",
                to=ADDRESS,
                context={"code": "WXRT-KPLM"},
            )
        case "cancelled":
            cancel(mail.pk)
        case "gone":
            OutboxMessage.objects.all().delete()
    result = send_verification_email.apply(args=(str(mail.pk),)).get()
    assert (result["status"], server.connections) == ("skipped", 0)


def test_v12_an_expired_code_ends_as_expired(mail: OutboxMessage) -> None:
    """The sweep says so, and removes its body."""
    OutboxMessage.objects.filter(pk=mail.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    sweep.apply()
    mail.refresh_from_db()
    assert (mail.state, mail.content) == (State.EXPIRED, None)


class NoSale(Exception):
    """What a signal's receiver may raise."""


def test_v28_a_registration_that_is_rolled_back_mails_nothing() -> None:
    """An error after the mail was written: no account, no mail."""

    def refuse(**_: object) -> None:
        raise NoSale

    email_confirmation_sent.connect(refuse)
    try:
        answer = Device().sign_up()
    finally:
        email_confirmation_sent.disconnect(refuse)
    assert answer.status_code == 500
    assert (mails(), User.objects.count()) == ([], 0)


def test_v29_a_lost_wake_up_is_found_by_the_sweep(
    mail: OutboxMessage, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker took no task: half a minute later the sweep tells a worker, by the name of the mail's kind."""
    relay()
    assert mails(state="queued") == [mail]
    OutboxMessage.objects.filter(pk=mail.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=31))
    told: list[tuple[str, object]] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args, **_: told.append((name, args)))
    assert sweep.apply().get() == {"status": "success", "swept": 0, "told": 1}
    assert publisher.flush(10)
    assert told == [(kinds.SEND_VERIFICATION, [str(mail.pk)])]


def test_v30_a_task_that_comes_twice_sends_once(mail: OutboxMessage, relay: Relay) -> None:
    """A redelivered task finds the mail accepted and skips."""
    server = relay()
    run(mail)
    assert run(mail) == {"status": "skipped", "message": str(mail.pk)}
    assert len(server.accepted) == 1


def test_v30_a_task_beside_another_worker_ends_without_sending(mail: OutboxMessage, relay: Relay) -> None:
    """While one worker has the mail, another finds nothing to do."""
    server = relay()
    assert claim(1, pk=mail.pk).rows
    assert run(mail)["status"] == "skipped"
    assert server.connections == 0


def test_each_kind_has_its_task() -> None:
    """The names under which mails are told of are the names under which the tasks are registered."""
    assert send_verification_email.name == kinds.KINDS["verification"].task
    assert send_password_reset_email.name == kinds.KINDS["password-reset"].task


def test_both_tasks_have_the_briefs_options() -> None:
    """Five retries, late acknowledgement, and a lost worker's task goes back to the queue."""
    for task in (send_verification_email, send_password_reset_email):
        assert (task.max_retries, task.acks_late, task.reject_on_worker_lost) == (5, True, True)


def test_the_schedule_is_the_briefs() -> None:
    """First attempt at once, then 60, 120, 240, 300 and 300 s; a quarter of jitter on all but the first."""
    assert project.EMAIL_OUTBOX_RETRY_SCHEDULE == [60, 120, 240, 300, 300]
    schedule = outbox_settings().schedule
    assert schedule.jitter == 0.25
    slow = type(schedule)(delays=(60.0, 120.0, 240.0, 300.0, 300.0), jitter=0.25)
    assert [slow.delay(retry, lambda: 0.0) for retry in range(6)] == [60, 120, 240, 300, 300, None]
    assert slow.delay(0, lambda: 0.99) == 60
    assert 120 < (slow.delay(1, lambda: 0.99) or 0) <= 150


def test_purge_is_a_task() -> None:
    """It says what it removed."""
    nothing = {"accounts": 0, "mails": 0, "suppressions": 0, "evidence": 0}
    assert purge.apply().get() == {"status": "success", **nothing}


def test_a_dropped_connection_before_the_data_is_retried(mail: OutboxMessage, relay: Relay) -> None:
    """The relay hangs up once at RCPT: it does not have the mail, and the retry brings it, once."""
    server = relay(Fault(At.RCPT, Close(), times=1), extensions=Extensions(chunking=False))
    run(mail)
    assert (mail.state, mail.doubts, len(server.accepted)) == (State.ACCEPTED, 0, 1)

"""The mail tasks against real servers that misbehave, run eagerly; ``test_worker.py`` has the real worker."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import Retry
from django.utils import timezone

from authentication.verification import handover, outcomes
from authentication.verification.emails import message_id_of
from authentication.verification.enqueueing import TASK_NAMES
from authentication.verification.models import MailState, Purpose, VerificationCode
from authentication.verification.services import redeem
from authentication.verification.tasks import MailNotAccepted, send_password_reset_email, send_verification_email
from robust_email.testing import At, Close, Extensions, Fault, Reply, ScriptedServer, TakeThenClose

if TYPE_CHECKING:
    from celery import Task
    from pytest_django import Settings

Relay = Callable[..., ScriptedServer]

WITHOUT_CHUNKING = Extensions(chunking=False)
"""So that there is a DATA to be answered wrongly."""


def run(code: VerificationCode, task: Task[Any, Any] = send_verification_email) -> dict[str, Any]:
    """Run the task and, since the schedule is shortened to nothing, its retries; return what the last one returned."""
    result = task.apply(args=(code.pk,))
    code.refresh_from_db()
    returned: dict[str, Any] = result.get(propagate=True)
    return returned


def test_an_accepted_mail_is_a_success(code: VerificationCode, relay: Relay) -> None:
    """The task returns success with the Message-ID, as Celery's own log line shows it, and the row knows."""
    server = relay()
    assert run(code) == {"status": "success", "message_id": message_id_of(code), "attempt": 1}
    assert [message.message_id for message in server.accepted] == [message_id_of(code)]
    assert code.mail_state == MailState.ACCEPTED


@pytest.mark.parametrize("at", [At.MAIL, At.RCPT, At.DATA])
def test_a_transient_reply_is_tried_again(code: VerificationCode, relay: Relay, at: At) -> None:
    """4yz and then 250: two attempts, one mail."""
    server = relay(Fault(at, Reply("451 4.7.1 later"), times=1), extensions=WITHOUT_CHUNKING)
    assert run(code)["attempt"] == 2
    assert len(server.accepted) == 1


def test_greylisting_at_the_end_of_data_is_tried_again(code: VerificationCode, relay: Relay) -> None:
    """4yz in place of the final 250: the server does not have it, so it is submitted again."""
    server = relay(Fault(At.BEFORE_FINAL, Reply("451 4.7.1 later"), times=1))
    assert run(code)["attempt"] == 2
    assert len(server.accepted) == 1


def test_a_lost_session_is_tried_again(code: VerificationCode, relay: Relay, settings: Settings) -> None:
    """A connection closed before the end of data is transient: the next attempt's mail is the only one."""
    settings.EMAIL_CONNECTION_RETRY_ATTEMPTS = 1
    server = relay(Fault(At.DATA, Close(), times=1), extensions=WITHOUT_CHUNKING)
    assert run(code)["attempt"] == 2
    assert len(server.accepted) == 1


def test_a_name_that_does_not_resolve_is_tried_until_the_schedule_ends(
    code: VerificationCode, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead DNS is transient: six attempts, then given up, and an error that Celery shows as such."""

    def no_answer(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_answer)
    settings.EMAIL_BACKEND = "authentication.core.email_backend.RobustSMTPEmailBackend"
    settings.EMAIL_HOST = "mail.shop.test"
    with pytest.raises(MailNotAccepted, match="deferred"):
        run(code)
    assert (code.mail_state, code.mail_attempts) == (MailState.GIVEN_UP, 6)


@pytest.mark.parametrize("at", [At.MAIL, At.RCPT, At.BEFORE_FINAL])
def test_a_permanent_reply_ends_it(code: VerificationCode, relay: Relay, at: At) -> None:
    """5yz: one attempt, no retry, REFUSED."""
    server = relay(Fault(at, Reply("550 5.1.1 no such user")))
    with pytest.raises(MailNotAccepted, match="refused"):
        run(code)
    assert (code.mail_state, code.mail_attempts) == (MailState.REFUSED, 1)
    assert server.accepted == []


def test_a_configuration_mistake_ends_it(code: VerificationCode, relay: Relay, settings: Settings) -> None:
    """A refused log-in is not repeated: it would lock the account (S25) and cannot mend itself."""
    server = relay(accounts={"shop": "right"})
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "shop", "wrong"
    with pytest.raises(MailNotAccepted, match="misconfigured"):
        run(code)
    assert code.mail_attempts == 1
    assert server.connections == 1


def test_a_mail_in_doubt_is_submitted_again_as_the_same_octets(code: VerificationCode, relay: Relay) -> None:
    """The server took it and hung up (S20): the copy that follows is the same to the octet, under one Message-ID."""
    server = relay(Fault(At.FINAL, TakeThenClose(), times=1))
    assert run(code)["attempt"] == 2
    first, second = server.accepted
    assert first.data == second.data
    assert first.message_id == message_id_of(code)
    assert (code.mail_state, code.mail_may_have_arrived) == (MailState.ACCEPTED, True)


def test_doubt_is_not_forgotten(code: VerificationCode, relay: Relay) -> None:
    """In doubt once and deferred ever after ends as in doubt, not as given up: somebody may have the mail."""
    relay(Fault(At.FINAL, TakeThenClose(), times=1), Fault(At.RCPT, Reply("451 4.7.1 later"), skip=1))
    with pytest.raises(MailNotAccepted):
        run(code)
    assert code.mail_state == MailState.IN_DOUBT


def test_the_retry_waits_as_the_schedule_says(code: VerificationCode, relay: Relay, settings: Settings) -> None:
    """After the first failure Celery is told 60 seconds, and the row says the same."""
    settings.EMAIL_TASK_RETRY_SCALE = 1
    relay(Fault(At.RCPT, Reply("451 4.7.1 later")))
    before = timezone.now()
    with pytest.raises(Retry) as raised:
        send_verification_email.apply(args=(code.pk,), throw=True)
    code.refresh_from_db()
    assert raised.value.when == 60
    assert timedelta(seconds=60) <= code.mail_due_at - before < timedelta(seconds=65)


def test_a_task_that_comes_twice_sends_once(code: VerificationCode, relay: Relay) -> None:
    """A redelivered task finds the mail accepted and skips (V30)."""
    server = relay()
    run(code)
    assert run(code) == {"status": "skipped", "code_id": code.pk}
    assert len(server.accepted) == 1


def test_a_task_beside_another_worker_ends_without_sending(code: VerificationCode, relay: Relay) -> None:
    """While one attempt holds the claim, another finds the mail not due."""
    server = relay()
    assert handover.begin_attempt(code_id=code.pk, purpose=Purpose.VERIFY_EMAIL) is not None
    assert run(code)["status"] == "skipped"
    assert server.connections == 0


def test_an_attempt_that_never_settled_is_taken_up_again(code: VerificationCode, relay: Relay) -> None:
    """A worker killed in the middle leaves a lease; once that is over, the mail is tried again."""
    relay()
    handover.begin_attempt(code_id=code.pk, purpose=Purpose.VERIFY_EMAIL)
    VerificationCode.objects.filter(pk=code.pk).update(mail_due_at=timezone.now())
    assert run(code)["attempt"] == 2


def test_a_late_settle_changes_nothing(code: VerificationCode) -> None:
    """An attempt whose lease ran out cannot overwrite what the attempt after it found."""
    late = handover.begin_attempt(code_id=code.pk, purpose=Purpose.VERIFY_EMAIL)
    assert late is not None
    VerificationCode.objects.filter(pk=code.pk).update(mail_due_at=timezone.now())
    newer = handover.begin_attempt(code_id=code.pk, purpose=Purpose.VERIFY_EMAIL)
    assert newer is not None
    handover.settle_attempt(attempt=newer, outcome=outcomes.MailOutcome("success", "<x@y>", "accepted"))
    handover.settle_attempt(attempt=late, outcome=outcomes.MailOutcome("refused", "<x@y>", "refused"))
    code.refresh_from_db()
    assert code.mail_state == MailState.ACCEPTED


@pytest.mark.parametrize("spoiled", ["expired", "used", "inactive customer", "other purpose", "gone"])
def test_a_code_that_is_of_no_use_is_not_mailed(code: VerificationCode, relay: Relay, spoiled: str) -> None:
    """Expired (V12), used, of an inactive customer (V35), of another purpose, deleted: nothing is sent."""
    server = relay()
    task, number = send_verification_email, code.pk
    match spoiled:
        case "expired":
            VerificationCode.objects.filter(pk=code.pk).update(expires_at=timezone.now())
        case "used":
            redeem(user=code.user, purpose=Purpose.VERIFY_EMAIL, code=code.code)
        case "inactive customer":
            type(code.user).objects.filter(pk=code.user.pk).update(is_active=False)
        case "other purpose":
            task = send_password_reset_email
        case "gone":
            code.delete()
    assert task.apply(args=(number,)).get()["status"] == "skipped"
    assert server.connections == 0


def test_each_purpose_has_its_task() -> None:
    """The names under which codes are enqueued are the names under which the tasks are registered."""
    assert {send_verification_email.name, send_password_reset_email.name} == set(TASK_NAMES.values())

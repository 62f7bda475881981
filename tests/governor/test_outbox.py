"""Mail in the outbox that a governor holds back: it uses up no retry, comes again in time, and keeps its lane."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMessage
from django.utils import timezone

from robust_email.governing import store_of
from robust_email.outbox import enqueue
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import DoubtPolicy, OutboxMessage, OutboxRelay, Priority
from robust_email.outbox.services import troubles
from robust_email.outbox.states import Event
from robust_email.outbox.verdicts import LongRun, Standing, decide
from robust_email.registry import registry
from robust_email.smtp import Schedule
from robust_email.smtp.admission import NotAdmitted
from robust_email.smtp.governor import Wait

if TYPE_CHECKING:
    from pytest_django import Settings

    from robust_email.testing import ScriptedServer

HELD = NotAdmitted(Wait(7.0, "the limit of 30/m is used up"), worth_waiting=True).verdict


def test_being_held_back_uses_up_no_retry_however_old_the_mail() -> None:
    """An old mail whose retries are used up waits all the same: nothing was tried."""
    long_run = LongRun(DoubtPolicy.RESEND, Schedule(), retries=5, age=1e6, outage_patience=60.0)
    decision = decide([Standing.DEFERRED], {"ann@example.org": HELD}, long_run, lambda: 0.0)
    assert (decision.event, decision.uses_retry, decision.waits_for_relay) == (Event.DEFER, False, True)


@pytest.mark.django_db
def test_a_relay_that_holds_back_is_asked_again_when_it_said(caplog: pytest.LogCaptureFixture) -> None:
    """After the seconds that the governor named, not after the schedule's minute, and without an alarm in the log.

    The first time soon: a word that was on its way when the relay came back must not hold the others for long.
    """
    now = timezone.now()
    with caplog.at_level("INFO"):
        soon = troubles.note("default", HELD, "relay:25", now, "default")
        assert soon == now + timedelta(seconds=1)
        assert troubles.note("default", HELD, "relay:25", soon, "default") == soon + timedelta(seconds=7)
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert OutboxRelay.objects.get().failures == 0


@pytest.mark.django_db(transaction=True)
def test_mail_over_the_limit_stays_in_the_outbox(smtp_server: ScriptedServer, settings: Settings) -> None:
    """Two of three go, the one of high priority among them; the third waits, its retries untouched."""
    store_of.cache_clear()
    settings.EMAIL_HOST, settings.EMAIL_PORT = smtp_server.host, smtp_server.port
    settings.EMAIL_RATE_LIMIT, settings.EMAIL_POOL_TIMEOUT = "2/h", 0.1
    for number, priority in enumerate((Priority.LOW, Priority.NORMAL, Priority.HIGH)):
        message = EmailMessage(f"mail {number}", "hello", "shop@example.org", ["ann@example.org"])
        enqueue(message, priority=priority)
    run_batch()
    run_batch()  # the mails accepted just now had made the third due again: the relay had answered
    registry.close()
    [waiting] = OutboxMessage.objects.filter(next_attempt_at__isnull=False)
    assert waiting.priority == Priority.LOW
    assert waiting.retries == 0
    assert waiting.next_attempt_at is not None
    assert waiting.next_attempt_at > timezone.now()
    assert len(smtp_server.accepted) == 2

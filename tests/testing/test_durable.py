"""The fixture for the outbox: mail in, time passing, mail out, without a worker, a broker or a relay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMessage, send_mail

from robust_email.outbox import enqueue
from robust_email.outbox.conf import outbox_settings
from robust_email.testing import At, Close, Fault, Reply, TakeThenClose
from robust_email.testing.schedules import schedules_at_once

if TYPE_CHECKING:
    from robust_email.testing.durable import OutboxProbe

ANN, BOB = "ann@example.net", "bob@example.net"


def test_a_mail_goes_in_and_out(outbox: OutboxProbe) -> None:
    """Nothing leaves before the outbox is run; then it is accepted once."""
    assert send_mail("hi", "there", "shop@example.org", [ANN]) == 1
    assert (outbox.states, outbox.relay.accepted) == (["queued"], [])
    assert outbox.run().claimed == 1
    assert outbox.states == ["accepted"]
    assert outbox.assert_accepted_once(ANN).forward_paths == (ANN,)


def test_time_passes_between_retries(outbox: OutboxProbe) -> None:
    """A relay that defers twice and then accepts has three attempts, in no time."""
    outbox.relay.add_fault(Fault(At.RCPT, Reply("450 4.2.1 greylisted"), times=2))
    send_mail("hi", "there", "shop@example.org", [ANN])
    outbox.drain()
    message = outbox.message_to(ANN)
    assert (message.state, message.attempts, message.retries) == ("accepted", 3, 2)


def test_a_relay_that_is_away_uses_up_no_retry(outbox: OutboxProbe) -> None:
    """Outages and one refused recipient end as they would in production."""
    outbox.relay.add_fault(Fault(At.GREETING, Close(), times=4))
    outbox.relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bob"))
    enqueue(EmailMessage("hi", "there", "shop@example.org", [ANN, BOB]), kind="invoice")
    outbox.drain()
    message = outbox.message_to(ANN)
    assert (message.state, message.retries) == ("partly", 0)
    assert outbox.standings(message) == {ANN: "accepted", BOB: "refused"}


def test_a_retry_after_a_doubt_may_double(outbox: OutboxProbe) -> None:
    """The assertion tells when the relay has a mail twice, and when it has none."""
    outbox.relay.add_fault(Fault(At.FINAL, TakeThenClose(), times=1))
    send_mail("hi", "there", "shop@example.org", [ANN])
    outbox.drain()
    assert outbox.message_to(ANN).doubts == 1
    with pytest.raises(AssertionError, match="accepted 2 times"):
        outbox.assert_accepted_once(ANN)
    with pytest.raises(AssertionError, match="holds 0 mails"):
        outbox.message_to(BOB)


def test_a_relay_that_never_gives_in_ends(outbox: OutboxProbe) -> None:
    """Draining comes to an end with the schedule."""
    outbox.relay.add_fault(Fault(At.RCPT, Reply("450 4.2.1 greylisted")))
    send_mail("hi", "there", "shop@example.org", [ANN])
    outbox.drain()
    assert outbox.states == ["dead"]


def test_schedules_keep_their_length() -> None:
    """The test mode changes how long, not how often; afterwards all is as it was."""
    before = outbox_settings().retry_schedule
    with schedules_at_once():
        assert outbox_settings().retry_schedule == (0.0,) * len(before)
    assert outbox_settings().retry_schedule == before

"""A pause that is shortened or ended, by whomever and at whatever moment, keeps no mail for longer than it lasts."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.db import InterfaceError, connections, transaction
from django.utils import timezone

from robust_email.outbox import enqueue
from robust_email.outbox.database import database
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage, OutboxRelay
from robust_email.outbox.services import claims, operating, settling
from robust_email.outbox.services.sweeping import sweep
from robust_email.smtp import SubmissionReport
from tests.outbox.faults import DatabaseFault, database_fault
from tests.outbox.test_killed import until
from tests.outbox.test_machine import OUTCOMES

HOUR = timedelta(hours=1)


def one_mail(**wishes: object) -> OutboxMessage:
    """Put one into the outbox."""
    return enqueue(EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"]), **wishes)  # type: ignore[arg-type]  # enqueue's


def paused_without_end() -> None:
    """Pause the relay, and let a worker come and find that."""
    operating.pause_relay("default")
    assert run_batch().claimed == 0


def waits() -> timedelta:
    """Tell for how long the first mail waits."""
    at = OutboxMessage.objects.order_by("created_at")[0].next_attempt_at
    assert at is not None
    return at - timezone.now()


def test_a_shorter_pause_shortens_the_wait(outbox_url: str) -> None:
    """What waited for a pause without end waits for the new one, and what was to go later than that goes no earlier."""
    one_mail()
    later = one_mail(send_after=timezone.now() + 5 * HOUR)
    paused_without_end()
    assert waits() > 1000 * HOUR
    end = timezone.now() + HOUR
    operating.pause_relay("default", until=end)
    assert abs(waits() - HOUR) < timedelta(minutes=1)
    later.refresh_from_db()
    assert later.next_attempt_at == later.send_after


@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_nobody_waits_for_a_pause_that_was_ended_meanwhile(outbox_url: str) -> None:
    """A worker that comes back from the relay while somebody resumes it does not write down the end of the pause."""
    one_mail()
    claim = claims.claim(1)
    operating.pause_relay("default")
    late = threading.Thread(target=find_the_relay_down, args=[claim])
    with transaction.atomic(using=database()):
        assert operating.resume_relay("default")
        late.start()
        until(lambda: blocks_somebody(database()) or not late.is_alive())
    late.join(30)
    assert waits() < HOUR
    assert OutboxRelay.objects.get().trouble == "down"


def find_the_relay_down(claim: claims.Claim) -> None:
    """Write down, in a thread of its own, that the relay of a claim could not be had."""
    [row] = claim.rows
    report = SubmissionReport(row.message_id, "relay:25", {"ann@example.net": OUTCOMES["down"]})
    settling.settle(claim, [settling.Finished(row, report)], (), database())
    connections[database()].close()


def blocks_somebody(alias: str) -> bool:
    """Tell whether somebody waits for a lock that this connection has."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))")
        return cursor.fetchone() is not None


def test_a_return_that_was_broken_off_is_finished_by_the_sweep(outbox_url: str) -> None:
    """Whoever resumes a relay may die before its mail was let go: no mail waits ten years for that."""
    one_mail()
    paused_without_end()
    with database_fault(DatabaseFault(part="waits_for_relay")), pytest.raises(InterfaceError):
        operating.resume_relay("default")
    assert waits() > 1000 * HOUR
    assert sweep().let_go == 1
    assert waits() <= timedelta(0)
    assert not OutboxRelay.objects.exists()
    assert sweep().total == 0


def test_a_new_end_that_was_broken_off_is_finished_by_the_sweep(outbox_url: str) -> None:
    """The same for who shortens a pause."""
    one_mail()
    paused_without_end()
    with database_fault(DatabaseFault(part="waits_for_relay")), pytest.raises(InterfaceError):
        operating.pause_relay("default", until=timezone.now() + HOUR)
    assert sweep().let_go == 1
    assert waits() < 2 * HOUR
    assert sweep().total == 0


def test_resumed_in_a_transaction_that_is_rolled_back_it_stays_paused(outbox_url: str) -> None:
    """A request with ``ATOMIC_REQUESTS`` may resume a relay; the mail goes with its commit."""
    one_mail()
    paused_without_end()
    with transaction.atomic(using=database()):
        assert operating.resume_relay("default")
        transaction.set_rollback(True, using=database())
    assert waits() > 1000 * HOUR
    with transaction.atomic(using=database()):
        assert operating.resume_relay("default")
    assert waits() <= timedelta(0)

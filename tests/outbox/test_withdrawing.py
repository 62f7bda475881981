"""Mail that is not to be submitted any more ends as what it is: some may have it, whatever became of the wish."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from robust_email.outbox import enqueue
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.services import claims, operating
from robust_email.outbox.services.sweeping import sweep
from robust_email.testing import At, Fault, Reply, TakeThenClose
from tests.outbox.test_flow import ANN, BOB, mail, make_due, standings

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from pytest_django import Settings

    from robust_email.testing import ScriptedServer


def expire(pk: UUID) -> None:
    """Let its time come."""
    OutboxMessage.objects.filter(pk=pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    sweep()


def cancel(pk: UUID) -> None:
    """Withdraw it."""
    assert operating.cancel(pk).state == OutboxMessage.objects.get(pk=pk).state


def supersede(pk: UUID) -> None:
    """Write a later one."""
    enqueue(mail(), supersede_key="code")


def lose_its_workers(pk: UUID) -> None:
    """Let one more worker than is allowed die before it begins."""
    make_due()
    OutboxMessage.objects.filter(pk=pk).update(lost_leases=99)
    assert claims.claim(1).rows
    OutboxMessage.objects.filter(pk=pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    sweep()


def lose_its_body(pk: UUID) -> None:
    """Have nothing to submit when its time has come."""
    make_due()
    OutboxMessage.objects.filter(pk=pk).update(content=None)
    run_batch()


WISHES: dict[str, tuple[Callable[[UUID], None], str]] = {
    "expire": (expire, "expired"),
    "cancel": (cancel, "cancelled"),
    "supersede": (supersede, "superseded"),
    "lose its workers": (lose_its_workers, "dead"),
    "lose its body": (lose_its_body, "dead"),
}


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("known", ["nothing", "accepted by one", "in doubt"])
def test_what_some_have_is_not_withdrawn(relay: ScriptedServer, settings: Settings, wish: str, known: str) -> None:
    """A code that one recipient has is partly accepted, one in doubt stays so: no end hides either, or their bodies."""
    settings.EMAIL_OUTBOX_SCRUB = "all"
    withdraw, state = WISHES[wish]
    if known == "accepted by one":
        relay.add_fault(Fault(At.RCPT, Reply("451 4.2.1 later"), subject="bob"))
        state, seen = "partly", {ANN: "accepted", BOB: "deferred"}
    elif known == "in doubt":
        relay.add_fault(Fault(At.FINAL, TakeThenClose(), times=1))
        state, seen = "in-doubt", {ANN: "in-doubt", BOB: "in-doubt"}
    else:
        relay.add_fault(Fault(At.MAIL, Reply("451 4.2.1 later"), times=1))
        seen = {ANN: "deferred", BOB: "deferred"}
    row = enqueue(mail(ANN, BOB), supersede_key="code", in_doubt="resend")
    run_batch()
    row.refresh_from_db()
    assert row.state == "queued"
    withdraw(row.pk)
    row.refresh_from_db()
    assert (row.state, row.next_attempt_at) == (state, None)
    assert row.finished_at is not None
    found: dict[str, Any] = dict(row.recipients.values_list("address", "standing"))
    assert found == seen
    assert (row.content is None) == (state in {"expired", "cancelled", "superseded"} or wish == "lose its body")


def test_who_cancels_a_doubt_has_decided_it(relay: ScriptedServer) -> None:
    """A mail that waits for a person is let go by that person; what others have of it stays said."""
    relay.add_fault(Fault(At.FINAL, TakeThenClose(), times=1))
    row = enqueue(mail(), in_doubt="hold")
    run_batch()
    assert standings() == {ANN: "in-doubt"}
    assert operating.cancel(row.pk).state == "cancelled"

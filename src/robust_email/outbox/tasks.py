"""The outbox on Celery: deliver one mail, drain a backlog, sweep, purge; and the wake-up. Imports Celery, alone.

A task carries a mail's key and nothing else. It is acknowledged after it ran, so a killed worker loses no mail; the
claim makes a second or late one harmless; the row says when the next attempt is, and ``self.retry`` is only its timer.
If that is lost (broker wiped, worker killed), the sweep finds the row. It also begins what is due in more than half an
hour (``wakeup.LONGEST_COUNTDOWN``), for which no task waits: so Redis' visibility time-out (an hour) sends none twice.

Add ``BEAT_SCHEDULE`` to the project's ``beat_schedule``; without beat, run ``manage.py outbox_drain`` now and then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from celery import shared_task
from celery.signals import worker_process_shutdown
from django.utils import timezone

from robust_email.outbox import dispatch, selectors
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.services import sweeping, tidying
from robust_email.outbox.states import State
from robust_email.outbox.wakeup import LONGEST_COUNTDOWN, flush_at_exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Task

DELIVER: Final = "robust_email.outbox.deliver"
DRAIN: Final = "robust_email.outbox.drain"
SWEEP: Final = "robust_email.outbox.sweep"
PURGE: Final = "robust_email.outbox.purge"

BEAT_SCHEDULE: Final[dict[str, dict[str, Any]]] = {
    "outbox: sweep": {"task": SWEEP, "schedule": 30.0, "options": {"expires": 30.0}},
    "outbox: purge": {"task": PURGE, "schedule": 86_400.0},
}

DRAIN_SECONDS: Final = 60.0
"""After which a drain makes room for other tasks; the sweep begins another if mail is left."""
DRAINS: Final = 4
"""Drains begun for a backlog at a time; one that finds nothing ends at once."""
FEW: Final = 20
"""Mails left behind that are told one by one; more are a backlog."""

LATE: Final = 1.0
"""Seconds after its time that a mail is begun: a clock that is ahead of the database's would find it not yet due."""

_OPTIONS: Final[dict[str, Any]] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "ignore_result": True,
    # A project's soft limit might strike between a 250 and its commit. Every step has a time limit of its own.
    "soft_time_limit": 3_600,
    "time_limit": 3_600,
}


class NotAccepted(Exception):
    """The relay did not accept the mail in this attempt; the text holds no address and no secret."""


@shared_task(name=DELIVER, bind=True, max_retries=None, throws=(NotAccepted,), **_OPTIONS)
def deliver(self: Task[Any, Any], pk: str) -> dict[str, object]:
    """Make one attempt at one mail, and come back when the row says so, if that is soon."""
    outcome = dispatch.run_one(UUID(pk))
    if outcome is None:
        return {"status": "skipped", "message": pk}
    if outcome.state is State.QUEUED and outcome.next_attempt_at is not None:
        wait = max(0.0, (outcome.next_attempt_at - timezone.now()).total_seconds())
        if wait <= LONGEST_COUNTDOWN:
            raise self.retry(exc=NotAccepted(f"mail {pk} waits for another attempt"), countdown=wait)
    return {"status": outcome.state.value, "message": pk}


@shared_task(name=DRAIN, **_OPTIONS)
def drain() -> dict[str, object]:
    """Work off what is due, in batches, for a minute at most."""
    began, tally = time.monotonic(), dispatch.Tally()
    while time.monotonic() - began < DRAIN_SECONDS:
        batch = dispatch.run_batch()
        tally.add(batch)
        if not batch.claimed:
            break
    return {"status": "success", "claimed": tally.claimed}


@shared_task(name=SWEEP, ignore_result=True)
def sweep() -> dict[str, object]:
    """Take back what dead workers held, and tell of mail that nobody has been told of, or that was forgotten."""
    swept = sweeping.sweep()
    left_behind = selectors.left_behind(FEW + 1, seconds=0.0 if swept.total else outbox_settings().sweep)
    wake_up = CeleryWakeUp(expires=outbox_settings().sweep)
    if len(left_behind) > FEW:
        wake_up.notify_backlog()
    else:
        wake_up.notify(left_behind)
    return {"status": "success", "swept": swept.total, "told": len(left_behind)}


@shared_task(name=PURGE, ignore_result=True)
def purge() -> dict[str, object]:
    """Remove what has ended long enough ago, and files that were left over."""
    removed = {state.value: count for state, count in sweeping.purge().items()}
    return {"status": "success", **removed, "files": tidying.remove_forgotten_files()}


class CeleryWakeUp:
    """Publishes tasks, without Celery's own retries: one failure is enough to know that the broker is away."""

    bounded = False

    def __init__(self, *, expires: float | None = None) -> None:
        """``expires``: seconds after which a task is worthless, because another sweep has come."""
        self._expires = expires

    def notify(self, pks: Sequence[UUID]) -> None:
        """Have each of these mails delivered, or, of many, all that is due. Raises kombu's ``OperationalError``."""
        if len(pks) > FEW:
            self.notify_backlog()
            return
        for pk in pks:
            deliver.apply_async(args=[str(pk)], retry=False, expires=self._expires)

    def notify_later(self, pks: Sequence[UUID], seconds: float) -> None:
        """Have each of these mails delivered then. Of many there is no task: the sweep has a backlog worked off."""
        if len(pks) > FEW:
            return
        for pk in pks:
            deliver.apply_async(args=[str(pk)], retry=False, countdown=seconds + LATE)

    def notify_backlog(self) -> None:
        """Have all that is due worked off. Raises as ``notify``."""
        for _ in range(DRAINS):
            drain.apply_async(retry=False, expires=DRAIN_SECONDS)


@worker_process_shutdown.connect(dispatch_uid="robust_email.outbox")
def _flush(**_: object) -> None:
    """Tell of the last mails of a pool's child, which ends without ``atexit``."""
    flush_at_exit()

"""Telling a worker that a mail waits: a hint and no more, since the row is the truth and the sweep finds it.

``EMAIL_OUTBOX_WAKEUP`` names who is told. The broker is spoken to by one thread of this process, and whoever committed
a mail does not wait for it: a broker that is away, or swallows packets, costs a request nothing. What has not been told
when the process ends is, within ``EMAIL_OUTBOX_WAKEUP_AT_EXIT``. After a failure nobody asks for a while; then the
workers are told, once, that there may be much.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
import time
from collections import deque
from functools import lru_cache
from multiprocessing import util
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import connections
from django.utils.module_loading import import_string

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    Job = Callable[[], None]

BUILT_IN: Final = {
    "celery": "robust_email.outbox.tasks.CeleryWakeUp",
    "django.tasks": "robust_email.outbox.django_tasks.DjangoTasksWakeUp",
    "none": "robust_email.outbox.wakeup.NoWakeUp",
}
SILENCE: Final = 5.0
"""Seconds without a try after the broker took nothing; then it is asked to tell of a backlog, until it does."""
LONGEST_COUNTDOWN: Final = 1_800.0
"""Seconds for which a task may wait for its time at a worker. Redis gives a task that nobody has acknowledged for an
hour to another worker, so what is due later than this has no task, and the sweep begins one."""
MOST_WAITING: Final = 1_000
"""Hints kept for the thread; in the place of what does not fit, workers are told of a backlog."""


class WakeUp(Protocol):
    """Who tells the workers. Both methods may raise whatever their broker raises, and be called from any thread."""

    bounded: bool
    """Whether telling takes no noticeable time and never fails, so that no thread is needed."""

    def notify(self, pks: Sequence[UUID]) -> None:
        """Tell that these mails are due."""

    def notify_backlog(self) -> None:
        """Tell that many are."""


@runtime_checkable
class TimedWakeUp(WakeUp, Protocol):
    """One that can also tell of mail that is due soon. The others leave it to the sweep."""

    def notify_later(self, pks: Sequence[UUID], seconds: float) -> None:
        """Tell, after so many seconds, that these mails are due. Raises as ``notify``."""


class NoWakeUp:
    """For those who run ``outbox_drain``: it looks by itself."""

    bounded = True

    def notify(self, pks: Sequence[UUID]) -> None:
        """Do nothing."""

    def notify_backlog(self) -> None:
        """Do nothing."""


class _Line:
    """What waits to be told, in one life of a publisher; a fork or another broker begins a new one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.changed = threading.Condition()
        self.thread: threading.Thread | None = None
        self._clock = clock
        self._jobs: deque[tuple[Job, Job]] = deque()
        self._owed: Job | None = None
        self._silent_until = 0.0
        self._busy = self._failing = self._over = False

    def put(self, job: Job, instead: Job) -> bool:
        """Have a job done in its turn; if it cannot be, the other is owed, once for all that were dropped."""
        with self.changed:
            kept = not self._is_silent() and len(self._jobs) < MOST_WAITING
            if kept:
                self._jobs.append((job, instead))
            else:
                self._owed = instead
            self.changed.notify_all()
        return kept

    def work(self) -> None:
        """Do what there is to do, for as long as the line is in use; whatever a job raises ends in the log."""
        try:
            while (taken := self._take()) is not None:
                job, instead = taken
                try:
                    job()
                    self._failing = False
                except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever brokers raise, or a task run at once
                    self._fail(exc, instead)
                _close_connections()
        finally:
            with self.changed:
                self.thread = None
            self._rest()

    def _take(self) -> tuple[Job, Job] | None:
        self._rest()
        with self.changed:
            while not self._over:
                if not self._is_silent():
                    if self._jobs:
                        self._busy = True
                        return self._jobs.popleft()
                    if self._owed is not None:
                        self._busy, owed, self._owed = True, self._owed, None
                        return owed, owed
                self.changed.wait(self._silent_until - self._clock() if self._owed is not None else None)
            return None

    def _rest(self) -> None:
        with self.changed:
            self._busy = False
            self.changed.notify_all()

    def _fail(self, exc: BaseException, instead: Job) -> None:
        with self.changed:
            self._silent_until, self._owed = self._clock() + SILENCE, instead
            self._jobs.clear()
        if not self._failing:  # once for each outage
            logger.warning("No worker could be told of new mail (%s); the sweep will find it", type(exc).__name__)
        self._failing = True

    def flush(self, seconds: float) -> bool:
        """Wait until nothing is left that could be done now; whether that was so in time."""
        with self.changed:
            return self.changed.wait_for(self._has_nothing_to_do, seconds)

    def _has_nothing_to_do(self) -> bool:
        if self.thread is None or not self.thread.is_alive():
            return True
        waits = self._jobs or (self._owed is not None and not self._is_silent())
        return not self._busy and not waits

    def _is_silent(self) -> bool:
        return self._clock() < self._silent_until

    def close(self) -> None:
        """Let the thread end after what it does now."""
        with self.changed:
            self._over = True
            self.changed.notify_all()


def _close_connections() -> None:
    try:
        connections.close_all()  # a task backend may keep its tasks there, or run them at once
    except Exception:  # noqa: BLE001 - the thread has to outlive a database, too
        logger.debug("A connection could not be closed", exc_info=True)


class Publisher:
    """The thread that speaks to the broker, made when first needed and anew in a forked child."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._line = _Line(clock)
        os.register_at_fork(after_in_child=self._begin_anew)

    def publish(self, job: Job, *, instead: Job) -> bool:
        """Have the thread run a job soon, and return at once; whether there was room for it.

        ``instead`` tells of a backlog: it is run once, when the broker answers again, for all jobs that were dropped
        or failed meanwhile.
        """
        line = self._line
        kept = line.put(job, instead)
        with line.changed:
            if line.thread is None or not line.thread.is_alive():
                self._start(line)
        return kept

    def _start(self, line: _Line) -> None:
        line.thread = threading.Thread(target=line.work, name="outbox wake-up", daemon=True)
        line.thread.start()
        if multiprocessing.parent_process() is not None:
            # Such a child may end without atexit; its own finalizers run at any rate.
            util.Finalize(None, flush_at_exit, exitpriority=0)

    def flush(self, seconds: float) -> bool:
        """Wait, for so many seconds at most, until the broker has been told; whether it was, or would not listen."""
        return self._line.flush(seconds)

    def forget(self) -> None:
        """Begin anew: another thread for the next job, and no silence. For tests, which change brokers."""
        self._line.close()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Leave the line behind. Another thread of the parent may have held its lock at a fork."""
        self._line = _Line(self._clock)


publisher: Final = Publisher()
"""The one of this process."""


@atexit.register
def flush_at_exit() -> None:
    """Give the broker its last chance to hear of what this process has committed."""
    if not publisher.flush(0):
        publisher.flush(outbox_settings().wakeup_at_exit)


def notify(pks: Sequence[UUID]) -> None:
    """Tell that these mails are due. Never raises, and does not wait for a broker."""
    _tell(lambda wake_up: wake_up.notify(pks))


def notify_later(pks: Sequence[UUID], seconds: float) -> None:
    """Tell in so many seconds that these mails are due, as ``notify``; nothing where the sweep has to do that."""
    if seconds <= LONGEST_COUNTDOWN:
        _tell(lambda wake_up: wake_up.notify_later(pks, seconds) if isinstance(wake_up, TimedWakeUp) else None)


def notify_backlog() -> None:
    """Tell that many mails are due. As ``notify``."""
    _tell(lambda wake_up: wake_up.notify_backlog())


def _tell(say: Callable[[WakeUp], None]) -> None:
    try:
        wake_up = current_wake_up()
        if wake_up.bounded:
            say(wake_up)
        else:
            publisher.publish(lambda: say(wake_up), instead=wake_up.notify_backlog)
    except Exception:  # noqa: BLE001 - the mail is committed; a broker's trouble is not the caller's
        logger.exception("No worker could be told of new mail; the sweep will find it")


@lru_cache(maxsize=1)
def current_wake_up() -> WakeUp:
    """Return the one that the project chose; ``ImproperlyConfigured`` if it cannot be had."""
    name = outbox_settings().wakeup
    try:
        wake_up: WakeUp = import_string(BUILT_IN.get(name, name))()
    except ImportError as exc:
        raise ImproperlyConfigured(f"EMAIL_OUTBOX_WAKEUP = {name!r} cannot be imported: {exc}") from exc
    return wake_up


def _forget(*, setting: str, **_: object) -> None:
    if setting == "EMAIL_OUTBOX_WAKEUP":
        current_wake_up.cache_clear()


setting_changed.connect(_forget, dispatch_uid="robust_email.outbox.wakeup")

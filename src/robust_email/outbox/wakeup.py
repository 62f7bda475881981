"""Telling a worker that a mail waits: a hint and no more, since the row is the truth and the sweep finds it.

``EMAIL_OUTBOX_WAKEUP`` names who is told. The broker is spoken to by one thread of this process, and whoever committed
a mail waits for it at most ``EMAIL_OUTBOX_WAKEUP_PATIENCE``: a broker that is away, or swallows packets, costs a
request that and no more. After a failure nobody asks for a while.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from functools import lru_cache
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

BUILT_IN: Final = {
    "celery": "robust_email.outbox.tasks.CeleryWakeUp",
    "django.tasks": "robust_email.outbox.django_tasks.DjangoTasksWakeUp",
    "none": "robust_email.outbox.wakeup.NoWakeUp",
}
SILENCE: Final = 5.0
"""Seconds without a try after the broker took nothing."""
LONGEST_COUNTDOWN: Final = 1_800.0
"""Seconds for which a task may wait for its time at a worker. Redis gives a task that nobody has acknowledged for an
hour to another worker, so what is due later than this has no task, and the sweep begins one."""
MOST_WAITING: Final = 1_000
"""Hints kept for the thread; what does not fit is found by the sweep."""


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


class Publisher:
    """The thread that speaks to the broker, made when first needed and anew in a forked child."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pid = -1
        self._lock = threading.Lock()
        self._jobs: queue.Queue[tuple[Callable[[], None], threading.Event]] = queue.Queue(MOST_WAITING)
        self._silent_until = 0.0
        self._hangs = False

    def publish(self, job: Callable[[], None], patience: float) -> bool:
        """Run a job in the thread and wait for up to ``patience`` seconds; whether it was done by then."""
        if self._clock() < self._silent_until:
            return False
        self._have_thread()
        done = threading.Event()
        try:
            self._jobs.put_nowait((job, done))
        except queue.Full:
            return False
        if self._hangs:
            return False  # behind a job that hangs there is nothing to wait for
        self._hangs = not done.wait(patience)
        return not self._hangs

    def _have_thread(self) -> None:
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._jobs, self._hangs = queue.Queue(MOST_WAITING), False
            threading.Thread(target=self._run, args=(self._jobs,), name="outbox wake-up", daemon=True).start()
            self._pid = os.getpid()

    def _run(self, jobs: queue.Queue[tuple[Callable[[], None], threading.Event]]) -> None:
        while True:
            job, done = jobs.get()
            if self._clock() >= self._silent_until:
                try:
                    job()
                except Exception as exc:  # noqa: BLE001 - whatever brokers raise; the sweep finds the mail
                    self._silent_until = self._clock() + SILENCE
                    logger.warning(
                        "No worker could be told of new mail (%s); the sweep will find it", type(exc).__name__
                    )
            connections.close_all()  # a task backend may keep its tasks there, or run them at once
            done.set()
            self._hangs = False

    def forget(self) -> None:
        """Begin anew: another thread for the next job, and no silence. For tests, which change brokers."""
        self._pid, self._silent_until, self._hangs = -1, 0.0, False

    def renew_lock(self) -> None:
        """Replace the lock, which another thread of the parent may have held at the fork."""
        self._lock = threading.Lock()


publisher: Final = Publisher()
"""The one of this process."""
os.register_at_fork(after_in_child=publisher.renew_lock)


def notify(pks: Sequence[UUID]) -> None:
    """Tell that these mails are due. Never raises, and takes no longer than the patience."""
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
            publisher.publish(lambda: say(wake_up), outbox_settings().wakeup_patience)
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

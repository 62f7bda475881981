"""Working off the outbox without a broker: once, until it is empty, or as a service, by one thread or several.

Each thread claims its own batches. One more, the caller's, sweeps. Asked to stop, a thread finishes what is on the way
to a relay and gives the rest of its batch back.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import Error as DbError
from django.db import connections

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import LONGEST_PAUSE, UNAVAILABLE, logger
from robust_email.outbox.dispatch import Tally, run_batch
from robust_email.outbox.services.sweeping import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.outbox.services.sweeping import Swept

TICK: Final = 0.2
"""Seconds between two looks of the caller's thread at whether it is over; a signal is handled by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to work and how. Without ``forever`` and ``until_empty`` each thread works off one batch."""

    forever: bool = False
    until_empty: bool = False
    max_seconds: float | None = None
    batch: int | None = None
    concurrency: int = 1


class Drain:
    """One run. ``stop()`` may be called from anywhere, a signal handler included."""

    def __init__(
        self,
        plan: Plan,
        *,
        on_batch: Callable[[Tally], None] = lambda _tally: None,
        on_sweep: Callable[[Swept], None] = lambda _swept: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_batch`` is told of each batch and ``on_sweep`` of each sweep, one call at a time."""
        self.total = Tally()
        self.error: Exception | None = None
        """What ended a thread that was not to go on for ever."""
        self._plan = plan
        self._on_batch = on_batch
        self._on_sweep = on_sweep
        self._clock = clock
        self._began = clock()
        self._stopping = threading.Event()
        self._telling = threading.Lock()

    def stop(self) -> None:
        """Finish what is on the way, give back the rest, end."""
        self._stopping.set()

    def run(self) -> Tally:
        """Work; returns what came of it. Without ``forever``, raises what the database said that ended a thread."""
        self._sweep()
        threads = [
            threading.Thread(target=self._work, name=f"outbox drain {number}", daemon=True)
            for number in range(1, self._plan.concurrency + 1)
        ]
        for thread in threads:
            thread.start()
        next_sweep = self._clock() + outbox_settings().sweep
        while at_work := [thread for thread in threads if thread.is_alive()]:
            at_work[0].join(TICK)
            if self._clock() >= next_sweep and not self._is_over():
                self._sweep()
                next_sweep = self._clock() + outbox_settings().sweep
        if self.error is not None:
            raise self.error
        return self.total

    def _is_over(self) -> bool:
        if self._plan.max_seconds is not None and self._clock() - self._began >= self._plan.max_seconds:
            self._stopping.set()
        return self._stopping.is_set()

    def _sweep(self) -> None:
        try:
            swept = sweep()
        except DbError as exc:
            if not self._plan.forever:
                raise
            logger.warning("The outbox could not be swept (%s)", type(exc).__name__)
            connections.close_all()
            return
        with self._telling:
            self._on_sweep(swept)

    def _work(self) -> None:
        try:
            while not self._is_over() and self._one_batch():
                pass
        except Exception as exc:  # noqa: BLE001 - raised again by run()
            self.error = exc
            self._stopping.set()
        finally:
            connections.close_all()

    def _one_batch(self) -> bool:
        """Work off one batch; whether to go on."""
        try:
            tally = run_batch(self._plan.batch, stop=self._is_over)
        except UNAVAILABLE as exc:
            if not self._plan.forever:
                raise
            logger.warning("The outbox's database is away (%s)", type(exc).__name__)
            connections.close_all()
            self._stopping.wait(LONGEST_PAUSE)
            return True
        if tally.claimed:
            with self._telling:
                self.total.add(tally)
                self._on_batch(tally)
            return self._plan.forever or self._plan.until_empty
        if self._plan.forever:
            self._stopping.wait(outbox_settings().poll)
        return self._plan.forever

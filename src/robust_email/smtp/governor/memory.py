"""The store of one process: for a single worker, for tests, and for when the shared one is gone."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from robust_email.smtp.governor.interface import Stored

if TYPE_CHECKING:
    from collections.abc import Callable


class MemoryStore:
    """A dictionary under a lock. It forgets by overwriting alone: there is one entry per relay, account and kind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds; any origin will do."""
        self._clock = clock
        self._lock = threading.Lock()
        self._values: dict[str, str] = {}

    def read(self, key: str) -> Stored:
        """Return a value and the time."""
        with self._lock:
            return Stored(self._clock(), self._values.get(key))

    def swap(self, key: str, old: str | None, new: str, keep_for: float) -> bool:  # noqa: ARG002 - a store's signature
        """Put ``new`` in place of ``old``; ``False`` if it has changed."""
        with self._lock:
            if self._values.get(key) != old:
                return False
            self._values[key] = new
            return True

    def forget_after_fork(self) -> None:
        """In a forked child: a lock that another thread of the parent held would stay locked."""
        self._lock = threading.Lock()
        self._values.clear()

"""A clock that a test turns by hand."""

from __future__ import annotations

import threading


class FakeClock:
    """Monotonic seconds that pass only when told; thread-safe.

    ``clock()`` is the time, so the object itself stands wherever a ``Callable[[], float]`` is wanted, and
    :meth:`sleep` wherever a ``Callable[[float], None]`` is: sleeping takes no time and moves the clock.
    """

    def __init__(self, start: float = 1000.0) -> None:
        """Start at ``start`` seconds; not 0, so that code which takes 0 for "never" shows itself."""
        self._lock = threading.Lock()
        self._now = start
        self._slept: list[float] = []

    def __call__(self) -> float:
        """Return the time in seconds."""
        with self._lock:
            return self._now

    @property
    def slept(self) -> tuple[float, ...]:
        """All sleeps so far, in seconds."""
        with self._lock:
            return tuple(self._slept)

    def advance(self, seconds: float) -> None:
        """Let time pass; :exc:`ValueError` for less than none, since a monotonic clock doesn't go back."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back")
        with self._lock:
            self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Note the sleep and let its time pass; :exc:`ValueError` as from :func:`time.sleep`."""
        self.advance(seconds)
        with self._lock:
            self._slept.append(seconds)

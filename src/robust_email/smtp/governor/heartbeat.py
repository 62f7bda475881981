"""Renews what a living process holds. A thread that is there only while something is held, and dies with the process.

A session may wait a minute for the reply to the end of data, in which the thread that leases it can renew nothing. A
lease long enough for that would keep the connections of a killed worker from the others for as long.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Heartbeat:
    """Calls ``beat`` every ``interval`` seconds until it returns ``False``; ``start`` sets it going again."""

    def __init__(self, beat: Callable[[], bool], interval: float) -> None:
        """``beat`` tells whether there is still something to renew."""
        self._beat = beat
        self._interval = interval
        self.forget_after_fork()

    def forget_after_fork(self) -> None:
        """In a forked child the thread is not there."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """See to it that the thread runs."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="robust-email-permits", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._interval)
            with self._lock:
                if threading.current_thread() is not self._thread:
                    return
            if not self._beat():
                with self._lock:
                    self._thread = None
                if self._beat():  # something came between the two
                    self.start()
                return

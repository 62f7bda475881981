"""When the shared store is gone: each process keeps to its part of the limits, by itself, until it is back.

The rule, and what it holds: with ``RelayLimits.processes`` processes or fewer, at most twice a rate's limit goes in
the window in which the store goes (or comes back), and at most the limit in any later one. Connections: what is open
stays, and new ones are at most ``processes`` together, or the limit if that is higher.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from robust_email.smtp.governor.interface import StoreUnavailable
from robust_email.smtp.governor.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.smtp.governor.interface import Store
    from robust_email.smtp.governor.limits import RelayLimits

    Use = Callable[[Store, RelayLimits], "T"]

T = TypeVar("T")

TRY_AGAIN = 5.0
"""Seconds for which a store that is gone is not asked: each time could cost its time-out."""


class StoreWithFallback:
    """A store to use, with the limits that hold there."""

    def __init__(
        self,
        store: Store,
        limits: RelayLimits,
        clock: Callable[[], float],
        on_change: Callable[[str | None], None],
    ) -> None:
        """``on_change`` is told why the store is gone, and ``None`` when it is back: once each."""
        self._store = store
        self._limits = limits
        self._share = limits.share()
        self._clock = clock
        self._on_change = on_change
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._alone = MemoryStore(self._clock)
        self._ask_after = float("-inf")
        self.degraded = False

    def forget_after_fork(self) -> None:
        """In a forked child: begin anew."""
        self._begin()
        if isinstance(self._store, MemoryStore):
            self._store.forget_after_fork()

    def run(self, use: Use[T]) -> T:
        """Call ``use`` with the store and the limits, or with what stands in for them."""
        if self.degraded and self._clock() < self._ask_after:
            return use(self._alone, self._share)
        try:
            result = use(self._store, self._limits)
        except StoreUnavailable as exc:
            self._gone(str(exc))
            return use(self._alone, self._share)
        if self.degraded:
            self._back()
        return result

    def _gone(self, reason: str) -> None:
        with self._lock:
            self._ask_after = self._clock() + TRY_AGAIN
            news, self.degraded = not self.degraded, True
        if news:
            self._on_change(reason)

    def _back(self) -> None:
        with self._lock:
            news, self.degraded = self.degraded, False
        if news:
            self._on_change(None)

"""The pure books kept in a store: read, changed by a function, written back unless somebody else was faster."""

from __future__ import annotations

import json
import random
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from robust_email.smtp.governor.adaptive import Pressure
from robust_email.smtp.governor.breaker import Circuit
from robust_email.smtp.governor.interface import StoreUnavailable
from robust_email.smtp.governor.permits import Hold, PermitBook
from robust_email.smtp.governor.rates import Queue, RateBook

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.smtp.governor.interface import Store

B = TypeVar("B")
T = TypeVar("T")

MOST_TRIES = 200
"""Lost races before a store is called unavailable; each is followed by a random pause."""
LONGEST_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Book(Generic[B]):
    """One kind of state under one key. ``keep_for``: seconds unused after which the store may forget it."""

    key: str
    keep_for: float
    load: Callable[[Any], B]
    """Makes the state from what JSON gave; ``None`` is a book that was never written."""

    def look(self, store: Store) -> tuple[B, float]:
        """Return the state and the store's time, changing nothing."""
        stored = store.read(self.key)
        return self._state(stored.text), stored.now

    def change(self, store: Store, alter: Callable[[B, float], T]) -> T:
        """Apply ``alter(state, now)`` atomically and return what it returned; it may be called several times."""
        for attempt in range(MOST_TRIES):
            stored = store.read(self.key)
            state = self._state(stored.text)
            result = alter(state, stored.now)
            text = json.dumps(asdict(state), separators=(",", ":"))  # type: ignore[call-overload] # every B is a dataclass
            if text == stored.text or store.swap(self.key, stored.text, text, self.keep_for):
                return result
            time.sleep(random.random() * min(LONGEST_PAUSE, 0.001 * (1 + attempt)))  # noqa: S311 - to part competitors
        raise StoreUnavailable(f"{MOST_TRIES} others were faster at {self.key}")

    def _state(self, text: str | None) -> B:
        """Read what is stored. What another version of this package wrote, and this one can't read, is nothing."""
        if text is not None:
            with suppress(ValueError, TypeError, KeyError, AttributeError):
                return self.load(json.loads(text))
        return self.load(None)


def circuit_book(endpoint: str) -> Book[Circuit]:
    """The breaker of an endpoint."""
    return Book(f"{endpoint}:circuit", 86_400.0, lambda raw: Circuit(**raw or {}))


def pressure_book(account: str, most: int) -> Book[Pressure]:
    """What is learnt of an account; it starts at ``most`` connections."""
    return Book(f"{account}:pressure", 86_400.0, lambda raw: Pressure(**raw or {"concurrency": most}))


def rate_book(account: str, longest_window: float) -> Book[RateBook]:
    """The messages of an account."""
    return Book(f"{account}:rates", 2 * longest_window + 60, _load_rates)


def permit_book(account: str, lease: float) -> Book[PermitBook]:
    """The connections of an account."""
    return Book(f"{account}:permits", 2 * lease + 60, _load_permits)


def _load_rates(raw: Any) -> RateBook:  # noqa: ANN401 - JSON
    if raw is None:
        return RateBook()
    counts = {rate: {int(key): count for key, count in buckets.items()} for rate, buckets in raw["counts"].items()}
    return RateBook(counts, _load_queue(raw["queue"]), raw["last_priority"])


def _load_permits(raw: Any) -> PermitBook:  # noqa: ANN401 - JSON
    if raw is None:
        return PermitBook()
    return PermitBook({permit: Hold(**hold) for permit, hold in raw["holds"].items()}, _load_queue(raw["queue"]))


def _load_queue(raw: Any) -> Queue:  # noqa: ANN401 - JSON
    return Queue({name: (lane, until) for name, (lane, until) in raw["callers"].items()})

"""What the engine asks a governor, and what a governor asks a store: plain data and protocols.

A *governor* keeps a relay from being overrun: it knows what one relay and account allow, and how the relay does, over
all processes and hosts that use it. Nothing here waits: the answer is "go" or how long it is until asking again is
worth while, and whoever waits gives his session back first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.smtp.lane import Lane
    from robust_email.smtp.outcome import Verdict


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. ``seconds`` until asking again is worth while; ``reason`` for the verdict's text and the log."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """The relay was given up, and this caller alone may try whether it is back. ``name`` tells one try from another."""

    name: str = ""


class Permit(Protocol):
    """Leave to hold one connection, counted over all who share the limit."""

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a connection, so that none should be kept idle."""

    def overdue(self, lane: Lane) -> bool:
        """Whether whoever is busy with mail of ``lane`` should give up too, after the mail in hand."""

    def release(self, *, used: bool = True) -> None:
        """The connection ended, or was not ``used`` at all. Never raises."""


@dataclass(frozen=True, slots=True)
class Observation:
    """How the relay just did: a verdict, or ``None`` for a session that was opened; by a ``probe``, if it was one."""

    verdict: Verdict | None = None
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class RateUse:
    """One rate limit (``text`` as configured), what it allows now, and how much of it is used up."""

    text: str
    allowed: int
    used: int


@dataclass(frozen=True, slots=True)
class GovernorState:
    """A relay's standing as all its users see it, for dashboards and metrics. Durations are seconds."""

    circuit: str
    """``"closed"``, ``"open"``, or ``"half-open"`` while a probe is under way."""
    reason: str
    """Why it is not closed, or why sending pauses."""
    retry_in: float
    connections: int
    connection_limit: int | None
    """What it is now: adaptation may have lowered it below the configured one."""
    waiting: dict[str, int]
    """Callers that wait for a message's or a connection's turn, by lane."""
    rates: tuple[RateUse, ...]
    paused_for: float
    degraded: bool
    """The shared store is gone, and this process keeps to its share of the limits."""


class Governor(Protocol):
    """One relay and account under control. Every method is thread-safe and none waits for a permit."""

    @property
    def most_connections(self) -> int | None:
        """The configured limit; a pool larger than that would let its threads compete for permits in vain."""

    def connection(self, lane: Lane, patience: float) -> Permit | Wait:
        """Ask for leave to open a session, holding no lock. Who waits longer than ``patience`` is not queued."""

    def circuit(self) -> Wait | Probe | None:
        """Ask with the permit in hand. ``None``: the relay is well; ``Wait``: it is given up, don't try."""

    def message(self, lane: Lane, recipients: int, patience: float, *, only_look: bool = False) -> Wait | None:
        """Ask before a transaction begins; ``None``: go, and it is counted.

        ``only_look``: before a session is had, ask whether it would be worth while; a turn that has come is kept for
        the caller for a moment, against lower lanes.
        """

    def observe(self, observation: Observation) -> None:
        """Learn how the relay did. Never raises."""

    def give_back(self, probe: Probe) -> None:
        """Let somebody else try: this one ended, and need not have found anything out. Never raises."""

    def when_wanted(self, give_up_idle: Callable[[], object]) -> None:
        """Call this (a bound method, weakly held), from another thread, when idle connections are wanted elsewhere."""

    def state(self) -> GovernorState:
        """Look, without changing anything."""


class StoreUnavailable(Exception):
    """The shared store cannot be reached, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A value as read: ``now`` is the store's own clock (seconds), ``text`` is ``None`` for a key that isn't there."""

    now: float
    text: str | None


class Store(Protocol):
    """A small shared memory with one clock. Changes are made by compare-and-swap, so that nothing is locked.

    Both methods raise ``StoreUnavailable``.
    """

    def read(self, key: str) -> Stored:
        """Return a value and the time."""

    def swap(self, key: str, old: str | None, new: str, keep_for: float) -> bool:
        """Put ``new`` in place of ``old``, to be forgotten ``keep_for`` seconds later; ``False`` if it has changed."""

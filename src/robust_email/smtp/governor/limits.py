"""What one relay and account allow, and when it is given up, as frozen values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from robust_email.smtp.errors import ConfigurationError

if TYPE_CHECKING:
    from robust_email.smtp.governor.rates import Rate


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When an endpoint is given up, and how it is tried again. Durations are seconds."""

    failures: int = 5
    """In a row, over all processes, without a success between."""
    memory: float = 60.0
    """After which an earlier failure is forgotten."""
    cooldown: float = 1.0
    """Before the first probe; doubles after each that fails, jittered."""
    longest_cooldown: float = 30.0
    probe: float = 60.0
    """After which a probe that was not heard of again has died with its process."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What all who use one relay and account may do together.

    Raises ``ConfigurationError`` for what lets nothing through.
    """

    rates: tuple[Rate, ...] = ()
    connections: int | None = None
    """At a time; ``None`` is no limit."""
    breaker: BreakerPolicy = BreakerPolicy()
    adaptive: bool = True
    """Learn from pressure and success, below these limits."""
    lease: float = 15.0
    """Seconds after which the connections of a worker that was killed are free again; renewed while it lives."""
    turn: float = 5.0
    """Seconds for which a busy connection is kept while others of the same lane wait for one."""
    processes: int = 4
    """How many processes share the limits when the store is gone and each keeps to its part."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        if self.connections is not None and self.connections < 1:
            raise ConfigurationError(f"connections must be at least 1, not {self.connections}")
        if self.processes < 1 or self.breaker.failures < 1:
            raise ConfigurationError("processes and breaker.failures must be at least 1")
        if not 0 < self.lease < math.inf:
            raise ConfigurationError(f"lease must be a positive finite number of seconds, not {self.lease}")

    def share(self) -> RelayLimits:
        """The part of one process.

        A rate below one per window becomes one in a longer window. A connection cannot be parted: each process keeps at
        least one, so that ``processes`` is the most that there are then.
        """
        rates = tuple(
            replace(rate, limit=rate.limit // self.processes)
            if rate.limit >= self.processes
            else replace(rate, limit=1, seconds=rate.seconds * self.processes / rate.limit)
            for rate in self.rates
        )
        connections = None if self.connections is None else max(1, self.connections // self.processes)
        return replace(self, rates=rates, connections=connections)

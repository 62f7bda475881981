"""One moment by which a piece of work ends, handed down through everything that waits on its behalf.

A time-out per call can be stretched by a peer that sends an octet before each one runs out. A deadline cannot.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]
"""Seconds that never go back, from any origin."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """``at`` is a moment of ``clock`` (seconds); infinity means never."""

    at: float
    clock: Clock = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> Deadline:
        """``seconds`` from now."""
        return cls(clock() + seconds, clock)

    @classmethod
    def never(cls, clock: Clock = time.monotonic) -> Deadline:
        """The deadline that does not come."""
        return cls(math.inf, clock)

    def remaining(self) -> float:
        """Seconds left: never negative, infinite for one that never comes."""
        return max(0.0, self.at - self.clock())

    @property
    def expired(self) -> bool:
        """Whether nothing is left."""
        return self.clock() >= self.at

    def within(self, seconds: float) -> Deadline:
        """The earlier of this one and ``seconds`` from now: a phase's own limit inside the whole."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

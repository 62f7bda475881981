"""Whether and when to try again: pure decisions, the clock and the dice are arguments.

Two owners use it (delivery semantics, section 2): opening a session inside one submission, and the long run of a
message over minutes. Neither retries at or after the end of data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robust_email.smtp.failure import FailureKind
from robust_email.smtp.outcome import Disposition, Scope
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from robust_email.smtp.config import OpeningRetry
    from robust_email.smtp.outcome import Verdict

Dice = Callable[[], float]
"""Returns a number in [0, 1), as ``random.random``."""


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Try again after ``delay`` seconds."""

    delay: float


def retry_now(verdict: Verdict, attempt: int, policy: OpeningRetry, dice: Dice) -> RetryDecision | None:
    """Whether to try again within this submission after ``attempt`` (from 1) ended in ``verdict``.

    Only for what a new session can mend: DEFERRED with scope SESSION or ENDPOINT, before the end of data. Not after
    waiting in vain for a free session, nor for a certificate that will be the same in two seconds. The delay doubles
    from ``policy.delay``, with up to a quarter of jitter so that workers do not come back as one.
    """
    if verdict.disposition is not Disposition.DEFERRED or verdict.scope not in {Scope.SESSION, Scope.ENDPOINT}:
        return None
    if verdict.phase in {Phase.POOL, Phase.AWAIT_FINAL} or attempt >= policy.attempts:
        return None
    if verdict.failure is not None and verdict.failure.kind is FailureKind.CERTIFICATE:
        return None
    delay = min(policy.max_delay, policy.delay * 2 ** (attempt - 1))
    return RetryDecision(delay * (1 + dice() / 4))


@dataclass(frozen=True, slots=True)
class Schedule:
    """The long run: seconds before each retry; jitter on all but the first (a fraction of the delay)."""

    delays: tuple[float, ...] = (60.0, 120.0, 240.0, 300.0, 300.0)
    jitter: float = 0.25
    scale: float = 1.0
    """Shortens or stretches the whole schedule; demonstrations and tests use less than 1."""

    def decide(self, retries: int, verdict: Verdict, dice: Dice, hint: float | None = None) -> RetryDecision | None:
        """The wait before retry number ``retries + 1``, or ``None`` to give up.

        ``hint`` is a delay (seconds) that the server named; it replaces the schedule's if it is longer.
        """
        delay = self.delay(retries, dice) if verdict.retryable else None
        return None if delay is None else RetryDecision(max(delay, hint or 0.0))

    def delay(self, retries: int, dice: Dice) -> float | None:
        """Seconds before retry number ``retries + 1``, or ``None`` if there is none; for a policy of one's own.

        Jitter only adds, so that no retry comes earlier than promised.
        """
        if retries >= len(self.delays):
            return None
        spread = self.jitter * dice() if retries > 0 else 0.0
        return self.delays[retries] * self.scale * (1 + spread)

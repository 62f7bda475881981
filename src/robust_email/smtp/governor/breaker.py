"""The circuit to one endpoint: opened by its faults, tried by one caller at a time, closed by the first success. Pure.

Only what speaks of the endpoint counts (no address, nobody listens, a time-out, a greeting that refuses), and never
what speaks of a mail, a recipient or an account. While it is open nobody waits for a connection that will not come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from robust_email.smtp.governor.interface import Probe, Wait
from robust_email.smtp.outcome import Scope
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from robust_email.smtp.governor.limits import BreakerPolicy
    from robust_email.smtp.outcome import Verdict


def speaks_of_endpoint(verdict: Verdict) -> bool:
    """Tell whether a verdict counts against the endpoint. A refused log-in speaks of the account."""
    return verdict.scope is Scope.ENDPOINT and verdict.phase not in {Phase.POOL, Phase.AUTH}


def shows_endpoint_well(verdict: Verdict) -> bool:
    """Tell whether a session failed for a reason that only a living endpoint can give: AUTH was answered, say."""
    return verdict.phase.opens_session and verdict.reply is not None and not speaks_of_endpoint(verdict)


@dataclass(slots=True)
class Circuit:
    """Closed while ``opened_at`` is ``None``. Times are the store's seconds."""

    failures: int = 0
    last_failure: float = 0.0
    opened_at: float | None = None
    retry_at: float = 0.0
    cooldown: float = 0.0
    probe_until: float = 0.0
    probe: str = ""
    """The name of the latest probe; only what it found out prolongs the outage."""
    reason: str = ""

    @property
    def standing(self) -> str:
        """The state in a word; ``state`` of ``GovernorState``."""
        if self.opened_at is None:
            return "closed"
        return "half-open" if self.probe_until else "open"

    def ask(self, policy: BreakerPolicy, now: float, name: str) -> Wait | Probe | None:
        """May a session be opened, by a probe of this name? One that says nothing for ``policy.probe`` s has died."""
        if self.opened_at is None:
            return None
        if now < self.retry_at or now < self.probe_until:
            text = (
                f"the relay has been out for {now - self.opened_at:.0f} s and is tried by one at a time: {self.reason}"
            )
            return Wait(max(self.retry_at, self.probe_until) - now, text)
        self.probe_until, self.probe = now + policy.probe, name
        return Probe(name)

    def failed(self, policy: BreakerPolicy, reason: str, now: float, dice: float, probe: Probe | None = None) -> bool:
        """Count a fault; whether it opened the circuit. Late news from before it opened change nothing."""
        if self.opened_at is not None:
            if self._is_tried_by(probe):
                self.cooldown = min(policy.longest_cooldown, 2 * self.cooldown)
                self._hold_off(reason, now, dice)
            return False
        if now - self.last_failure > policy.memory:
            self.failures = 0
        self.failures += 1
        self.last_failure = now
        if self.failures < policy.failures:
            return False
        self.opened_at = now
        self.cooldown = policy.cooldown
        self._hold_off(reason, now, dice)
        return True

    def succeeded(self, now: float) -> float | None:
        """Forget all faults; how long (seconds) the endpoint was out, if the circuit was open."""
        outage = None if self.opened_at is None else now - self.opened_at
        self.failures, self.opened_at, self.reason = 0, None, ""
        self._end_probe()
        return outage

    def give_back(self, probe: Probe) -> None:
        """Let the next caller try at once, if this one is still taken for the one who does."""
        if self._is_tried_by(probe):
            self._end_probe()

    def _is_tried_by(self, probe: Probe | None) -> bool:
        return probe is not None and bool(self.probe_until) and probe.name == self.probe

    def _end_probe(self) -> None:
        self.probe_until, self.probe = 0.0, ""

    def _hold_off(self, reason: str, now: float, dice: float) -> None:
        self.reason = reason
        self._end_probe()
        self.retry_at = now + self.cooldown * (1 + dice / 4)

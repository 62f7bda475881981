"""From what a submission came to, to what becomes of the row: pure; the clock and the dice are arguments."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robust_email.outbox.models import DoubtPolicy, OutboxRecipient
from robust_email.outbox.states import Event
from robust_email.smtp import Disposition, Scope, Verdict
from robust_email.smtp.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from robust_email.smtp import Schedule

Standing = OutboxRecipient.Standing

_STANDINGS: Final = {
    Disposition.ACCEPTED: Standing.ACCEPTED,
    Disposition.DEFERRED: Standing.DEFERRED,
    Disposition.REFUSED: Standing.REFUSED,
    Disposition.IN_DOUBT: Standing.IN_DOUBT,
}


@dataclass(frozen=True, slots=True)
class LongRun:
    """The rules for one mail: how it may be tried again, and how much of that is used."""

    policy: DoubtPolicy
    schedule: Schedule
    retries: int
    """Used so far."""
    age: float
    """Seconds since it was made, was to go, or was queued again, whichever came last."""
    outage_patience: float
    """Seconds of age up to which a relay that cannot be had uses up no retry."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the row. ``delay`` (seconds) belongs to ``DEFER``; None there means: when the relay is asked."""

    event: Event
    delay: float | None = None
    uses_retry: bool = False
    waits_for_relay: bool = False


def standing_of(verdict: Verdict) -> Standing:
    """Return what a verdict makes of a recipient. A mistake in our configuration refuses nobody."""
    if verdict.scope is Scope.CONFIGURATION and verdict.disposition is not Disposition.ACCEPTED:
        return Standing.DEFERRED
    return _STANDINGS[verdict.disposition]


def is_open(standing: Standing, policy: DoubtPolicy) -> bool:
    """Tell whether another attempt may name a recipient."""
    if standing is Standing.IN_DOUBT:
        return policy is DoubtPolicy.RESEND
    return standing in {Standing.PENDING, Standing.DEFERRED}


def decide(
    standings: Collection[Standing], verdicts: Mapping[str, Verdict], long_run: LongRun, dice: Callable[[], float]
) -> Decision:
    """Decide after an attempt.

    ``standings`` are those of all recipients, this attempt's verdicts included; ``verdicts`` are this attempt's.
    """
    if not any(is_open(standing, long_run.policy) for standing in standings):
        return Decision(ending(standings))
    if trouble := _trouble(verdicts):
        within = trouble is Scope.CONFIGURATION or long_run.age < long_run.outage_patience
        if within or any(is_held_back(verdict) for verdict in verdicts.values()):
            return Decision(Event.DEFER, waits_for_relay=True)
    delay = _delay(verdicts, long_run, dice)
    if delay is None:
        return Decision(ending(standings))
    return Decision(Event.DEFER, delay, uses_retry=True, waits_for_relay=trouble is not None)


def is_held_back(verdict: Verdict) -> bool:
    """Tell whether limits, a pause or an open breaker kept the mail back: the relay was not asked."""
    return verdict.failure is not None and verdict.failure.kind is FailureKind.THROTTLED


def retry_after(verdict: Verdict) -> float:
    """Return the seconds after which it is worth trying again, as far as the verdict knows; else 0."""
    return (verdict.failure and verdict.failure.retry_after) or 0.0


def _trouble(verdicts: Mapping[str, Verdict]) -> Scope | None:
    """Return why the relay could not be had, if that is what the attempt came to."""
    scopes = {verdict.scope for verdict in verdicts.values() if verdict.disposition is not Disposition.ACCEPTED}
    return next((scope for scope in (Scope.CONFIGURATION, Scope.ENDPOINT) if scope in scopes), None)


def _delay(verdicts: Mapping[str, Verdict], long_run: LongRun, dice: Callable[[], float]) -> float | None:
    # A mail in doubt that is to be submitted again waits its turn like one that was deferred.
    verdict = next((each for each in verdicts.values() if each.disposition is not Disposition.ACCEPTED), None)
    if verdict is None:
        return 0.0
    deferred = dataclasses.replace(verdict, disposition=Disposition.DEFERRED)
    decision = long_run.schedule.decide(long_run.retries, deferred, dice)
    return None if decision is None else decision.delay


def withdrawn(standings: Collection[Standing], wish: Event) -> Event:
    """Return what ends a mail that waits and is not to be submitted any more: the wish, unless the relay has it."""
    if Standing.IN_DOUBT in standings:
        return Event.HOLD
    return Event.ACCEPT_PARTLY if Standing.ACCEPTED in standings else wish


def ending(standings: Collection[Standing]) -> Event:
    """Return what ends a mail of which nobody is left to have it."""
    found = set(standings)
    if Standing.IN_DOUBT in found:
        return Event.HOLD
    if found == {Standing.ACCEPTED}:
        return Event.ACCEPT
    if Standing.ACCEPTED in found:
        return Event.ACCEPT_PARTLY
    return Event.REFUSE if found == {Standing.REFUSED} else Event.GIVE_UP

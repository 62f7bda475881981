"""What the dashboard shows. Nothing here grows with the mails that have ended: indexes over what waits, and tallies."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from django.db.models import F, Sum

from robust_email.outbox.dashboard.governors import Governed, governed
from robust_email.outbox.database import database, database_now
from robust_email.outbox.models import SubmissionAttempt, SubmissionTally
from robust_email.outbox.selectors import Health, RelayHealth, health
from robust_email.outbox.services.tallying import ALL_RELAYS, BOUNDS, SLICE, slice_of
from robust_email.smtp import Disposition

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACCEPTED: Final = Disposition.ACCEPTED.value
DAY: Final = 86_400 // SLICE
"""Slices."""
NEWEST: Final = 2_000
"""Attempts among which the latest trouble is looked for."""
SHOWN: Final = 8
"""Attempts of these that are shown."""
MOST_RELAYS: Final = 50
"""Rows of the table of relays; a shop with a relay for each tenant has thousands."""


@dataclass(frozen=True, slots=True)
class Series:
    """Attempts by disposition over time. ``step`` is seconds; each list has one number for each of ``times``."""

    step: int
    times: list[int]
    """Seconds since 1970, the beginning of each step."""
    counts: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Failure:
    """One class of what went wrong: at which phase, and what it meant."""

    phase: str
    disposition: str
    attempts: int


@dataclass(frozen=True, slots=True)
class RelayFigures:
    """One relay: how it stands now, and its last 24 hours."""

    now: RelayHealth
    attempts: int = 0
    accepted: int = 0
    median: float | None = None
    """Seconds; that half of the accepted mails took at most."""
    slow: float | None = None
    """Seconds; as ``median``, for 95 of a hundred."""
    failures: tuple[Failure, ...] = ()
    governed: tuple[Governed, ...] = ()
    """Breaker, connections and rates of each endpoint, where the workers share them."""

    @property
    def share(self) -> float | None:
        """Which part of the attempts was accepted, in per cent."""
        return 100 * self.accepted / self.attempts if self.attempts else None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the page."""

    health: Health
    accepted_per_minute: int
    """In the minute before now."""
    relays: tuple[RelayFigures, ...]
    more_relays: int
    day: Series
    month: Series
    trouble: tuple[SubmissionAttempt, ...] = field(default=())


def overview() -> Overview:
    """Look at everything: some fifteen short queries."""
    standing = health()
    relays = relay_figures(standing)
    return Overview(
        health=standing,
        accepted_per_minute=accepted_in_last(timedelta(minutes=1)),
        relays=tuple(replace(each, governed=tuple(governed(each.now.name))) for each in relays[:MOST_RELAYS]),
        more_relays=max(0, len(relays) - MOST_RELAYS),
        day=series(slices=DAY, step=3),
        month=series(slices=30 * DAY, step=DAY),
        trouble=latest_trouble(),
    )


def accepted_in_last(duration: timedelta) -> int:
    """Return how many mails were accepted, by everybody they were for or by some."""
    using = database()
    return (
        SubmissionAttempt.objects.using(using)
        .filter(ended_at__gt=database_now(using) - duration, accepted__gt=0)
        .count()
    )


def series(*, slices: int, step: int, relay: str = ALL_RELAYS) -> Series:
    """Return the last ``slices``, ``step`` of them added up to one point."""
    using = database()
    end = slice_of(database_now(using)) + 1
    first = end - slices
    first -= first % step
    rows = (
        SubmissionTally.objects.using(using)
        .filter(relay=relay, slice__gte=first)
        .annotate(point=F("slice") - F("slice") % step)
        .values_list("point", "disposition")
        .annotate(sum=Sum("attempts"))
        .order_by()
    )
    points = range(first, end, step)
    counts = {disposition.value: [0] * len(points) for disposition in Disposition}
    for point, disposition, total in rows:
        index = (int(point) - first) // step
        if disposition in counts and index < len(points):
            counts[disposition][index] = int(total)
    return Series(step * SLICE, [point * SLICE for point in points], counts)


def relay_figures(standing: Health) -> tuple[RelayFigures, ...]:
    """Return the relays that something waits for, that are in trouble, or that were used in the last 24 hours."""
    using = database()
    since = slice_of(database_now(using)) - DAY
    rows = (
        SubmissionTally.objects.using(using)
        .filter(slice__gte=since)
        .exclude(relay=ALL_RELAYS)
        .values_list("relay", "disposition", "phase", "seconds_below")
        .annotate(sum=Sum("attempts"))
        .order_by()
    )
    outcomes: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    durations: dict[str, Counter[float]] = defaultdict(Counter)
    for relay, disposition, phase, below, total in rows:
        outcomes[relay][disposition, phase] += int(total)
        if disposition == _ACCEPTED:
            durations[relay][below] += int(total)
    known = {relay.name: relay for relay in standing.relays}
    found = [
        _relay(known.get(name) or RelayHealth(name, 0, 0.0), outcomes[name], durations[name])
        for name in {*known, *outcomes}
    ]
    return tuple(
        sorted(found, key=lambda each: (not each.now.trouble, -each.now.waiting, -each.attempts, each.now.name))
    )


def _relay(now: RelayHealth, outcomes: Mapping[tuple[str, str], int], durations: Mapping[float, int]) -> RelayFigures:
    failures = [
        Failure(phase, disposition, count)
        for (disposition, phase), count in outcomes.items()
        if disposition != _ACCEPTED
    ]
    return RelayFigures(
        now=now,
        attempts=sum(outcomes.values()),
        accepted=sum(count for (disposition, _), count in outcomes.items() if disposition == _ACCEPTED),
        median=percentile(durations, 0.5),
        slow=percentile(durations, 0.95),
        failures=tuple(sorted(failures, key=lambda each: -each.attempts)[:3]),
    )


def percentile(durations: Mapping[float, int], share: float) -> float | None:
    """Return a duration that ``share`` of them don't exceed, from counts below each of ``BOUNDS``; None without any.

    Between two bounds it is taken to rise evenly; beyond the last but one it says that one.
    """
    wanted = share * sum(durations.values())
    if not wanted:
        return None
    for low, high in pairwise((0.0, *BOUNDS)):
        count = durations.get(high, 0)
        if count and wanted <= count:
            return low if high == BOUNDS[-1] else low + (high - low) * wanted / count
        wanted -= count
    return BOUNDS[-2]


def latest_trouble() -> tuple[SubmissionAttempt, ...]:
    """Return the latest attempts that were not accepted, among the newest: without a walk over what went well."""
    attempts = SubmissionAttempt.objects.using(database())
    oldest = attempts.order_by("-pk").values_list("pk", flat=True)[NEWEST : NEWEST + 1]
    troubled = attempts.filter(pk__gt=next(iter(oldest), 0)).exclude(disposition=_ACCEPTED)
    return tuple(troubled.order_by("-pk")[:SHOWN])

"""Attempts are counted once, five minutes at a time, so that a chart of thirty days reads some thousand rows.

The sweep does it, behind the hot path: no hand-over waits for a counter that all workers share. A slice is counted when
it has been over for ``GRACE``: ``ended_at`` is taken inside the short transaction that writes it.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from django.db.models import Case, Count, FloatField, Min, Value, When
from django.utils import timezone

from robust_email.conf import uses_time_zones
from robust_email.outbox.database import database, database_now, short_transaction
from robust_email.outbox.models import SubmissionAttempt, SubmissionTally, TallyMark

if TYPE_CHECKING:
    from django.db.models import QuerySet

SLICE: Final = 300
"""Seconds."""
GRACE: Final = 60
"""Seconds after the end of a slice in which its last attempts are committed."""
AT_ONCE: Final = 100
"""Slices that one sweep counts at most; more are left to the next."""
KEPT: Final = 92 * 86_400 // SLICE
"""Slices that are kept, three months of them."""
ALL_RELAYS: Final = ""

BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 86_400.0)
"""Seconds; the last stands for everything beyond."""

_MARK: Final = 1


class _Overtaken(Exception):
    """Another sweep counted this slice at the same time; what was counted here is rolled back."""


def slice_of(time: datetime) -> int:
    """Return the number of the five minutes that a time belongs to."""
    return int(time.timestamp()) // SLICE


def beginning_of(number: int) -> datetime:
    """Return when a slice begins, aware if the project uses time zones."""
    aware = datetime.fromtimestamp(number * SLICE, UTC)
    return aware if uses_time_zones() else timezone.make_naive(aware)


def roll_up(limit: int = AT_ONCE) -> int:
    """Count up to ``limit`` slices that are over, the oldest first; returns how many. Any number may run at once."""
    using = database()
    end = int(database_now(using).timestamp() - GRACE) // SLICE
    counted = 0
    while counted < limit:
        try:
            if not _count_next(using, end):
                break
        except _Overtaken:
            continue
        counted += 1
    return counted


def forget_old() -> int:
    """Remove tallies that no chart shows any more; returns how many rows."""
    using = database()
    before = slice_of(database_now(using)) - KEPT
    return SubmissionTally.objects.using(using).filter(slice__lt=before).delete()[0]


def _count_next(using: str, end: int) -> bool:
    """Count the next slice that has attempts; False if none before ``end`` does."""
    mark = _mark(using)
    first = _between(using, max(mark, end - KEPT), end).aggregate(first=Min("ended_at"))["first"]
    number = slice_of(first) if first is not None else end
    with short_transaction(using):
        # The mark first: SQLite lets no transaction write that has read what others changed since.
        _move_mark(using, mark, min(number + 1, end))
        if first is not None:
            SubmissionTally.objects.using(using).bulk_create(_tallies(using, number))
    return first is not None


def _mark(using: str) -> int:
    """Return up to which slice has been counted; 0 at first."""
    marks = TallyMark.objects.using(using)
    found = marks.values_list("until", flat=True).first()
    if found is None:
        marks.bulk_create([TallyMark(pk=_MARK, until=0)], ignore_conflicts=True)
    return found or 0


def _move_mark(using: str, was: int, until: int) -> None:
    """Move the mark from where it was read, or raise ``_Overtaken``."""
    if was < until and not TallyMark.objects.using(using).filter(pk=_MARK, until=was).update(until=until):
        raise _Overtaken


def _between(using: str, start: int, end: int) -> QuerySet[SubmissionAttempt]:
    return SubmissionAttempt.objects.using(using).filter(
        ended_at__gte=beginning_of(start), ended_at__lt=beginning_of(end)
    )


def _tallies(using: str, number: int) -> list[SubmissionTally]:
    bound = Case(
        *(When(seconds__lt=seconds, then=Value(seconds)) for seconds in BOUNDS[:-1]),
        default=Value(BOUNDS[-1]),
        output_field=FloatField(),
    )
    groups = (
        _between(using, number, number + 1)
        .annotate(bound=bound)
        .values_list("message__relay", "disposition", "phase", "bound")
        .annotate(count=Count("pk"))
        .order_by()
    )
    counts: Counter[tuple[str, str, str, float]] = Counter()
    for relay, disposition, phase, below, count in groups:
        counts[relay, disposition, phase, below] += count
        counts[ALL_RELAYS, disposition, "", BOUNDS[-1]] += count
    return [
        SubmissionTally(
            slice=number, relay=relay, disposition=disposition, phase=phase, seconds_below=below, attempts=count
        )
        for (relay, disposition, phase, below), count in counts.items()
    ]

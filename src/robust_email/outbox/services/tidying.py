"""Files that no row names: their transaction was rolled back, or their removal failed. Nobody else comes back to them.

A file's name has its row's key in it, so whether a row names it is asked by primary key, a chunk at a time. What
another outbox wrote into the same folder is known by its name, and stays.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from robust_email.outbox import storage
from robust_email.outbox.database import CHUNK, database
from robust_email.outbox.identifiers import made_at
from robust_email.outbox.models import OutboxMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

AGE: Final = timedelta(days=1)
"""Of a file, before it counts as forgotten: its transaction may still be open."""


def _now() -> datetime:
    return datetime.now(UTC)


def remove_forgotten_files(*, dry_run: bool = False, clock: Callable[[], datetime] = _now) -> int:
    """Remove this outbox's files that are a day old and that no row names; returns how many.

    Reads the names of one day at a time.
    """
    total, latest = 0, clock() - AGE
    for day in storage.days():
        own = [(name, key) for name in storage.files_of(day) if (key := storage.own_key(name)) is not None]
        old = [(name, key) for name, key in own if made_at(key) < latest]
        for begin in range(0, len(old), CHUNK):
            forgotten = _forgotten(old[begin : begin + CHUNK])
            total += len(forgotten)
            if not dry_run:
                storage.remove_files(forgotten)
        if not dry_run and day < str(latest.date()):
            storage.remove_day(day)
    return total


def _forgotten(files: Sequence[tuple[str, UUID]]) -> list[str]:
    rows = OutboxMessage.objects.using(database()).filter(pk__in=[key for _, key in files])
    named = set(rows.values_list("content_name", flat=True))
    return [name for name, _ in files if name not in named]

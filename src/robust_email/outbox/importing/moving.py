"""One mail after the other out of another queue: locked there, written here, and marked there as gone.

Where both are in one database, that is one transaction. Where they are not, a mail is written before it is marked, with
a ``dedupe_key`` made of its old key: an import that was cut off is simply run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from django.db import Error as DbError
from django.db import router, transaction

from robust_email.messages import to_submission
from robust_email.outbox.database import passing_over_locked
from robust_email.outbox.services.enqueueing import Wishes, enqueue_message
from robust_email.smtp.transcript import masked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.mail import EmailMessage
    from django.db.models import Model, QuerySet

    from robust_email.outbox.models import OutboxMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A mail of the other queue, in our words."""

    message: EmailMessage
    priority: int
    send_after: datetime | None = None
    expires_at: datetime | None = None


class Unusable(Exception):
    """A mail that cannot be moved, and stays; the text holds no address."""


class Source(Protocol):
    """Another package's queue."""

    name: str

    def waiting(self) -> QuerySet[Model]:
        """Return the rows that wait, in the order in which they would go."""
        ...

    def take(self, row: Model) -> Taken:
        """Return a row's mail; ``Unusable`` if there is none in it."""
        ...

    def mark(self, row: Model, moved_to: OutboxMessage) -> None:
        """Let the other package leave this mail alone, and note where it is."""
        ...


@dataclass(slots=True)
class Report:
    """What was found, and what was moved; on a dry run what would be."""

    found: int = 0
    moved: int = 0
    unusable: list[tuple[str, str]] = field(default_factory=list)
    """Old key and reason."""


def move(source: Source, *, dry_run: bool, limit: int | None = None, kind: str = "", relay: str = "") -> Report:
    """Move what waits, up to ``limit`` mails. A dry run makes every mail, writes none, and finds the same reasons."""
    report = Report()
    for pk in _keys(source, limit):
        report.found += 1
        try:
            report.moved += _move_one(source, pk, kind, relay, dry_run=dry_run)
        except (Unusable, ValueError) as exc:
            report.unusable.append((str(pk), masked(str(exc))))
        except DbError:
            raise
        except Exception as exc:  # noqa: BLE001 - another package's rows may fail in any way, each for itself
            report.unusable.append((str(pk), f"{type(exc).__name__}: {masked(str(exc))}"))
    return report


def _keys(source: Source, limit: int | None) -> Iterator[object]:
    """All at once, and only the keys: each row is read again when its turn has come."""
    yield from list(source.waiting().values_list("pk", flat=True)[:limit])


def _move_one(source: Source, pk: object, kind: str, relay: str, *, dry_run: bool) -> bool:
    """Move one; False if it does not wait any more, or somebody has it right now."""
    rows = source.waiting()
    with transaction.atomic(using=router.db_for_write(rows.model)):
        rows = rows.using(router.db_for_write(rows.model)).filter(pk=pk).order_by()
        row = rows.first() if dry_run else passing_over_locked(rows).first()
        if row is None:
            return False
        taken = source.take(row)
        if not taken.message.recipients():
            raise Unusable("it has no recipients")
        wishes = Wishes(
            kind=kind,
            relay=relay,
            priority=taken.priority,
            send_after=taken.send_after,
            expires_at=taken.expires_at,
            dedupe_key=f"{source.name}:{pk}",
        )
        if dry_run:
            to_submission(taken.message)
            wishes.resolved_relay()
        else:
            source.mark(row, enqueue_message(taken.message, wishes))
    return True

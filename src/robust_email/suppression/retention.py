"""What is removed in time: suppressions that are over, and evidence that nothing depends on any more.

Kept past its time is evidence about an address that is on the list, since it says why; and evidence that still tells a
report read once more from a new one, as long as such a report would be believed: by a mail in the outbox, or a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from robust_email.suppression import selectors
from robust_email.suppression.conf import suppression_settings
from robust_email.suppression.models import SuppressedAddress, SuppressionEvidence
from robust_email.suppression.policy import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

CHUNK: Final = 500
"""Rows that are looked at together, and that one statement removes at most: no lock is held for long."""
_SLACK: Final = 2.0
"""Days: a token's age is counted in whole ones, and by another host's clock."""


@dataclass(frozen=True, slots=True)
class Purged:
    """How many rows went, or would have."""

    suppressions: int = 0
    evidence: int = 0


def purge(*, dry_run: bool = False) -> Purged:
    """Remove what ``EMAIL_SUPPRESSION_RETENTION`` keeps no longer, chunk by chunk; any number may run at once.

    If the database fails half way, what was removed stays removed, and the next run goes on.
    """
    keep, now = suppression_settings().retention, timezone.now()
    over = None if keep.suppressions is None else now - timedelta(seconds=keep.suppressions)
    suppressions = 0 if over is None else _purge_suppressions(over, dry_run=dry_run)
    if keep.evidence is None:
        return Purged(suppressions)
    believed = (suppression_settings().token_age + _SLACK) * DAY
    before = now - timedelta(seconds=max(keep.evidence, believed))
    return Purged(suppressions, _purge_evidence(before, over, dry_run=dry_run))


def _purge_suppressions(over: datetime, *, dry_run: bool) -> int:
    total = 0
    for chunk in _chunks(SuppressedAddress, ("pk",), expires_at__lt=over):
        # Asked once more: an address that was refused again meanwhile has a new term.
        total += len(chunk) if dry_run else _remove(SuppressedAddress, [pk for (pk,) in chunk], expires_at__lt=over)
    return total


def _purge_evidence(before: datetime, over: datetime | None, *, dry_run: bool) -> int:
    total = 0
    for chunk in _chunks(SuppressionEvidence, ("pk", "digest", "message_id"), noted_at__lt=before):
        listed = selectors.listed({digest for _, digest, _ in chunk}, over)
        mails = selectors.kept_mails({message_id for _, _, message_id in chunk if message_id})
        pks = [pk for pk, digest, message_id in chunk if digest not in listed and message_id not in mails]
        total += len(pks) if dry_run or not pks else _remove(SuppressionEvidence, pks)
    return total


def _chunks(model: Any, columns: tuple[str, ...], **wanted: object) -> Iterator[list[tuple[Any, ...]]]:  # noqa: ANN401 - either model
    """Yield the rows by key, each once, whether those before were removed or not."""
    rows = model.objects.using(selectors.database()).filter(**wanted).order_by("pk").values_list(*columns)
    chunk = list(rows[:CHUNK])
    while chunk:
        yield chunk
        chunk = list(rows.filter(pk__gt=chunk[-1][0])[:CHUNK])


def _remove(model: Any, pks: list[int], **wanted: object) -> int:  # noqa: ANN401 - either model
    """Delete by one statement, where Django's collector might read the rows first."""
    using = selectors.database()
    removed: int = model.objects.using(using).filter(pk__in=pks, **wanted)._raw_delete(using)  # noqa: SLF001 - nothing hangs on them
    return removed

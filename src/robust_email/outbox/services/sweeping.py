"""What nobody would come back to by himself: leases that ran out, mails that became worthless, what is old."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import F, Q

from robust_email.outbox import storage
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import (
    CHUNK,
    database,
    database_now,
    locking_transaction,
    logger,
    passing_over_locked,
)
from robust_email.outbox.models import DoubtPolicy, OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.outbox.services import tallying, troubles
from robust_email.outbox.services.claims import UNLEASED, queued_at
from robust_email.outbox.services.withdrawing import known_standings, withdraw
from robust_email.outbox.states import LEASED, Event, State, after, sources
from robust_email.outbox.verdicts import Standing, withdrawn
from robust_email.smtp import Disposition, Phase, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet


@dataclass(slots=True)
class Swept:
    """How many mails a sweep changed."""

    requeued: int = 0
    """Their worker gave no sign and had not begun to hand them over."""
    resent: int = 0
    """In doubt by a worker's death, and to be submitted again."""
    held: int = 0
    """In doubt by a worker's death, and held."""
    dead: int = 0
    """Taken from too many workers."""
    expired: int = 0
    """Worthless now; also those that some have, or may have, and that end partly accepted or in doubt."""
    let_go: int = 0
    """Waited for a relay that was back, or for longer than its pause."""
    files: list[str] = field(default_factory=list, repr=False)

    @property
    def total(self) -> int:
        """All of them."""
        return self.requeued + self.resent + self.held + self.dead + self.expired + self.let_go


def sweep() -> Swept:
    """Take mail from workers that gave no sign, end what has become worthless, and count what was attempted.

    Any number may run at once.
    """
    using, swept = database(), Swept()
    while _sweep_leases(using, swept) or _expire(using, swept):
        pass
    storage.remove_files(swept.files)
    swept.let_go = troubles.finish_letting_go(using)
    if swept.total:
        logger.warning(
            "Swept the outbox: %d queued again, %d in doubt and to be submitted again, %d in doubt and held, %d given "
            "up, %d expired, %d waiting for no reason",
            swept.requeued,
            swept.resent,
            swept.held,
            swept.dead,
            swept.expired,
            swept.let_go,
        )
    tallying.roll_up()
    return swept


def _sweep_leases(using: str, swept: Swept) -> bool:
    with locking_transaction(using):
        now = database_now(using)
        lapsed = OutboxMessage.objects.using(using).filter(lease_until__lt=now, state__in=LEASED)
        rows = list(passing_over_locked(lapsed.defer("content")).order_by("lease_until")[:CHUNK])
        return sum(_take_back(row, now, using, swept) for row in rows) > 0


def _take_back(row: OutboxMessage, now: datetime, using: str, swept: Swept) -> bool:
    """Decide by what the row says of how far its worker came; False if the worker gave a sign meanwhile."""
    lapsed = OutboxMessage.objects.using(using).filter(
        pk=row.pk, lease_token=row.lease_token, state=row.state, lease_until__lt=now
    )
    changes: dict[str, Any] = {"lost_leases": F("lost_leases") + 1}
    in_doubt = row.state == State.DATA_STARTED
    hold = in_doubt and row.in_doubt == DoubtPolicy.HOLD
    dead = not hold and row.lost_leases + 1 >= outbox_settings().max_lost_leases
    if in_doubt:
        changes |= {"doubts": F("doubts") + 1, "attempts": F("attempts") + 1}
    if hold or dead:
        known = {Standing.IN_DOUBT} if in_doubt else known_standings([row.pk], using).get(row.pk, ())
        state = after(State(row.state), withdrawn(known, Event.GIVE_UP))
        changes |= {"state": state, "finished_at": now, **UNLEASED}
    else:
        changes |= queued_at(now)
    changes["reason"] = _reason(row, in_doubt=in_doubt, dead=dead)
    if not lapsed.update(**changes):
        return False
    if in_doubt:
        _note_doubt(row, now, using)
    swept.held += changes["state"] == State.IN_DOUBT
    swept.dead += dead and changes["state"] != State.IN_DOUBT
    swept.resent += in_doubt and not (hold or dead)
    swept.requeued += not (in_doubt or dead)
    return True


def _reason(row: OutboxMessage, *, in_doubt: bool, dead: bool) -> str:
    stage = "handed it over, or was about to" if in_doubt else "held it and had not begun to hand it over"
    text = f"worker {row.lease_owner} gave no sign while it {stage}"
    return f"{text}; so did {row.lost_leases} before it" if dead else text


def _note_doubt(row: OutboxMessage, now: datetime, using: str) -> None:
    """Add the attempt that the dead worker could not write down."""
    open_to = OutboxRecipient.objects.using(using).filter(
        message=row, standing__in=(Standing.PENDING, Standing.DEFERRED, Standing.IN_DOUBT)
    )
    reason = "the worker died between the end of data and its verdict"
    count = open_to.update(standing=Standing.IN_DOUBT, code=None, enhanced_code="", reason=reason, settled_at=now)
    SubmissionAttempt.objects.using(using).bulk_create(
        [
            SubmissionAttempt(
                message=row,
                ended_at=now,
                worker=row.lease_owner,
                phase=Phase.AWAIT_FINAL.value,
                disposition=Disposition.IN_DOUBT.value,
                scope=Scope.SESSION.value,
                reply=reason,
                in_doubt=count,
            )
        ]
    )


def _expire(using: str, swept: Swept) -> bool:
    with locking_transaction(using):
        now = database_now(using)
        worthless = OutboxMessage.objects.using(using).filter(
            expires_at__lte=now, next_attempt_at__isnull=False, state__in=sources(Event.EXPIRE)
        )
        rows = list(passing_over_locked(worthless.defer("content"))[:CHUNK])
        found, files = withdraw(rows, worthless, Event.EXPIRE, finished_at=now)
    swept.files += files
    swept.expired += found
    return found == CHUNK


def purge(*, dry_run: bool = False) -> dict[State, int]:
    """Remove mails that ended longer ago than ``EMAIL_OUTBOX_RETENTION`` keeps them; returns how many, by state."""
    using, removed = database(), {}
    now = database_now(using)
    for state, seconds in outbox_settings().retention:
        old = OutboxMessage.objects.using(using).filter(
            Q(finished_at__lt=now - timedelta(seconds=seconds)), state=state
        )
        removed[state] = old.count() if dry_run else _remove(old, using)
    if not dry_run:
        tallying.forget_old()
    return removed


def _remove(old: QuerySet[OutboxMessage], using: str) -> int:
    total = 0
    while True:
        with locking_transaction(using):
            found = list(passing_over_locked(old).values_list("pk", "content_name")[:CHUNK])
            _delete([pk for pk, _ in found], using)
        storage.remove_files(name for _, name in found)
        total += len(found)
        if len(found) < CHUNK:
            return total


def _delete(pks: Iterable[UUID], using: str) -> None:
    """Delete by three statements, where Django's collector would read every row first."""
    pks = list(pks)
    for model, key in (
        (OutboxRecipient, "message_id__in"),
        (SubmissionAttempt, "message_id__in"),
        (OutboxMessage, "pk__in"),
    ):
        rows: Any = model
        deleting = rows.objects.using(using).filter(**{key: pks})
        deleting._raw_delete(using)  # noqa: SLF001 - no cascade is left to be followed

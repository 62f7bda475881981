"""What a person or the application decides about a mail: to send it again, to let it go, or what to make of a doubt."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.db.models import Q

from robust_email.outbox import storage, wakeup
from robust_email.outbox.database import CHUNK, database, database_now
from robust_email.outbox.models import TEXT_LENGTH, OutboxMessage, OutboxRecipient, OutboxRelay
from robust_email.outbox.services import troubles
from robust_email.outbox.services.claims import queued_at
from robust_email.outbox.services.scrubbing import NO_BODY, SCRUBBED_STATES, is_scrubbed
from robust_email.outbox.services.withdrawing import known_standings
from robust_email.outbox.states import Event, State, after, sources
from robust_email.outbox.verdicts import Standing, withdrawn

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

FOR_LONG: Final = timedelta(days=10 * 365)
"""A pause without an end."""


class NotPossible(Exception):
    """The mail's state does not allow it; nothing changed. The text says why."""


def requeue(pk: UUID, *, reason: str = "queued again by hand") -> OutboxMessage:
    """Let a mail that has ended be submitted again to those who have not accepted it, with a new schedule.

    Raises ``NotPossible``: it waits already, everybody has it, it was superseded, or its body was removed.
    """
    using = database()
    with transaction.atomic(using=using):
        row = _locked(pk, using)
        if row.state not in sources(Event.REQUEUE):
            raise NotPossible(f"A mail that is {row.state} cannot be queued again.")
        if row.content is None and not row.content_name:
            raise NotPossible("Its body was removed.")
        now = database_now(using)
        to_go = row.recipients.using(using).exclude(standing=Standing.ACCEPTED)
        to_go.update(standing=Standing.PENDING, code=None, enhanced_code="", reason="", settled_at=None)
        _change(
            row,
            using,
            retries=0,
            lost_leases=0,
            finished_at=None,
            waits_for_relay=False,
            send_after=now,
            reason=reason[:TEXT_LENGTH],
            **_still_valid(row, now),
            **queued_at(now),
        )
        transaction.on_commit(lambda: wakeup.notify([row.pk]), using=using, robust=True)
    return row


def _still_valid(row: OutboxMessage, now: datetime) -> dict[str, Any]:
    """Who queues an expired mail again wants it to go."""
    return {"expires_at": None} if row.expires_at is not None and row.expires_at <= now else {}


def cancel(pk: UUID, *, reason: str = "cancelled by hand") -> OutboxMessage:
    """Withdraw a mail. Raises ``NotPossible`` if a worker has it, or it has ended.

    If the relay has it for some, it ends as partly accepted; if it waits to be submitted again since the relay may have
    it, as in doubt. One that is in doubt already is no more: who cancels it has decided that.
    """
    using = database()
    with transaction.atomic(using=using):
        row = _locked(pk, using)
        if row.state not in sources(Event.CANCEL):
            raise NotPossible(f"A mail that is {row.state} cannot be cancelled.")
        state = after(State(row.state), _cancelling(row, using))
        scrub = state in SCRUBBED_STATES and is_scrubbed(row)
        files = [row.content_name] if scrub else []
        _change(
            row,
            using,
            state=state,
            next_attempt_at=None,
            waits_for_relay=False,
            finished_at=database_now(using),
            reason=reason[:TEXT_LENGTH],
            **(NO_BODY if scrub else {}),
        )
        transaction.on_commit(lambda: storage.remove_files(files), using=using, robust=True)
    return row


def _cancelling(row: OutboxMessage, using: str) -> Event:
    known = set(known_standings([row.pk], using).get(row.pk, ()))
    return withdrawn(known - {Standing.IN_DOUBT} if row.state == State.IN_DOUBT else known, Event.CANCEL)


def resolve(pk: UUID, *, accepted: bool, reason: str = "decided by hand") -> OutboxMessage:
    """Decide a doubt: the relay did accept the mail, or it is to be submitted again. ``NotPossible`` without one."""
    using = database()
    if not accepted:
        with transaction.atomic(using=using):
            if _locked(pk, using).state != State.IN_DOUBT:
                raise NotPossible("The mail is not in doubt.")
            return requeue(pk, reason=reason)
    with transaction.atomic(using=using):
        row = _locked(pk, using)
        if row.state != State.IN_DOUBT:
            raise NotPossible("The mail is not in doubt.")
        recipients = OutboxRecipient.objects.using(using).filter(message=row)
        recipients.filter(standing=Standing.IN_DOUBT).update(standing=Standing.ACCEPTED, reason=reason[:TEXT_LENGTH])
        all_have_it = not recipients.exclude(standing=Standing.ACCEPTED).exists()
        scrub = all_have_it and is_scrubbed(row)
        files = [row.content_name] if scrub else []
        _change(
            row,
            using,
            state=State.ACCEPTED if all_have_it else State.PARTLY,
            finished_at=database_now(using),
            reason=reason[:TEXT_LENGTH],
            **(NO_BODY if scrub else {}),
        )
        transaction.on_commit(lambda: storage.remove_files(files), using=using, robust=True)
    return row


def resume_relay(name: str) -> bool:
    """Let a relay be asked at once, and its waiting mail go; False if it was not in trouble."""
    return troubles.is_over(name, database(), by_hand=True)


def pause_relay(name: str, *, until: datetime | None = None, reason: str = "paused by hand") -> None:
    """Leave a relay alone: no worker begins with its mail until then, or ``resume_relay``. No retry is used up."""
    using = database()
    with transaction.atomic(using=using):
        troubles.pause(name, until or database_now(using) + FOR_LONG, reason, using)


def wake_workers() -> None:
    """Tell the workers that much waits, through ``EMAIL_OUTBOX_WAKEUP``, once the transaction is committed."""
    transaction.on_commit(wakeup.notify_backlog, using=database(), robust=True)


def resume_all_relays() -> list[str]:
    """As ``resume_relay`` for each that is in trouble; returns their names."""
    names = list(OutboxRelay.objects.using(database()).values_list("name", flat=True))
    return [name for name in names if resume_relay(name)]


def ended_in(states: Iterable[State], *, relay: str | None = None, kind: str | None = None) -> list[UUID]:
    """Return the keys of up to a thousand mails that ended so, the oldest first."""
    chosen = Q(state__in=list(states), finished_at__isnull=False)
    if relay is not None:
        chosen &= Q(relay=relay)
    if kind is not None:
        chosen &= Q(kind=kind)
    rows = OutboxMessage.objects.using(database()).filter(chosen).order_by("finished_at")
    return list(rows.values_list("pk", flat=True)[:CHUNK])


def _locked(pk: UUID, using: str) -> OutboxMessage:
    """Lock a row for a decision; ``OutboxMessage.DoesNotExist`` without one."""
    return OutboxMessage.objects.using(using).select_for_update().get(pk=pk)


def _change(row: OutboxMessage, using: str, **columns: Any) -> None:  # noqa: ANN401 - of many types
    """Change a row if it is still as it was read: SQLite has no row locks."""
    unchanged = OutboxMessage.objects.using(using).filter(pk=row.pk, state=row.state, lease_token=row.lease_token)
    if not unchanged.update(**columns):
        raise NotPossible("A worker took the mail at this moment.")
    for name, value in columns.items():
        setattr(row, name, value)

"""Taking mail to work on, keeping it while working, giving it back.

The lease token is the fence: a new one with each claim, named in the condition of every later change. A worker that was
taken for dead and comes back changes nothing.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from django.db.models import F, Q

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import (
    database,
    database_now,
    locking_transaction,
    passing_over_locked,
    short_transaction,
)
from robust_email.outbox.identifiers import uuid7
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, OutboxRelay, Priority
from robust_email.outbox.services import troubles
from robust_email.outbox.states import LEASED, Event, State, sources
from robust_email.outbox.verdicts import Standing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet


class LeaseLost(Exception):
    """Somebody else has at least one of these mails now; nothing of them may be written to a relay."""


@dataclass(slots=True, eq=False)
class Recipient:
    """One of a claimed mail's: what the hand-over asks of an ``OutboxRecipient``, read without making a model of it."""

    pk: int
    message_id: UUID
    address: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Claim:
    """Mails that this worker may hand over, and nobody else, while ``token`` stands in their rows."""

    token: UUID
    owner: str
    rows: tuple[OutboxMessage, ...] = ()
    recipients: dict[UUID, tuple[Recipient, ...]] = field(default_factory=dict)


def worker_name() -> str:
    """Name this process: host, process id, and a word made at random, since two containers may share the rest."""
    return _worker_name(os.getpid())


@lru_cache(maxsize=4)
def _worker_name(pid: int) -> str:
    return f"{socket.gethostname()[:64]}/{pid}/{secrets.token_hex(4)}"


def claim(limit: int, *, pk: UUID | None = None) -> Claim:
    """Take up to ``limit`` mails that are due, or the one with this key if it is; the first lane first.

    Costs a fixed handful of statements, however many mails wait or have ended.
    """
    using = database()
    troubled = troubles.hold_back(using)
    with locking_transaction(using):
        now = database_now(using)
        chosen = _choose(using, now, limit, pk, troubled)
        token, owner = uuid7(), worker_name()
        if not chosen:
            return Claim(token, owner)
        rows = OutboxMessage.objects.using(using)
        rows.filter(pk__in=chosen, state__in=sources(Event.CLAIM), next_attempt_at__lte=now).update(
            state=State.CLAIMED,
            next_attempt_at=None,
            lease_token=token,
            lease_owner=owner,
            lease_until=now + outbox_settings().lease_time,
        )
        taken = {row.pk: row for row in rows.filter(pk__in=chosen, lease_token=token)}
        recipients = _recipients(using, taken)
    return Claim(token, owner, tuple(taken[pk] for pk in chosen if pk in taken), recipients)


def _choose(using: str, now: datetime, limit: int, pk: UUID | None, troubled: Sequence[OutboxRelay]) -> list[UUID]:
    due: QuerySet[OutboxMessage] = OutboxMessage.objects.using(using).filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=now), state__in=sources(Event.CLAIM), next_attempt_at__lte=now
    )
    if pk is not None:
        return list(passing_over_locked(due.filter(pk=pk)).values_list("pk", flat=True))
    octets = outbox_settings().batch_octets
    chosen: list[UUID] = []
    for relay in [each.name for each in troubled if each.ask_again_at <= now][:limit]:
        # One mail asks for all that wait: what it finds lets them go, or holds them back.
        first = passing_over_locked(due.filter(relay=relay).order_by("next_attempt_at"))
        chosen += first.values_list("pk", flat=True)[:1]
    due = due.exclude(relay__in=[relay.name for relay in troubled])
    for lane in Priority.values:
        # One lane at a time: so the index gives the rows in order, and none that is not due is looked at.
        in_lane = passing_over_locked(due.filter(priority=lane).order_by("next_attempt_at"))
        for found, size in in_lane.values_list("pk", "content_size")[: limit - len(chosen)]:
            chosen.append(found)
            octets -= size
            if octets <= 0:
                return chosen
        if len(chosen) >= limit:
            break
    return chosen


def _recipients(using: str, pks: Collection[UUID]) -> dict[UUID, tuple[Recipient, ...]]:
    found: dict[UUID, list[Recipient]] = {pk: [] for pk in pks}
    rows = OutboxRecipient.objects.using(using).filter(message_id__in=pks).order_by("message_id", "position")
    for pk, message, address, standing in rows.values_list("pk", "message_id", "address", "standing"):
        found[message].append(Recipient(pk, message, address, Standing(standing)))
    return {pk: tuple(each) for pk, each in found.items()}


def mark_data_started(token: UUID, pks: Sequence[UUID], now: datetime, using: str) -> None:
    """Commit that from here on the relay may have these mails. One UPDATE, inside the caller's short transaction.

    Raises ``LeaseLost``, and changes nothing, unless all of them are still ours.
    """
    held = _held(token, using).filter(pk__in=pks, state__in=sources(Event.START_DATA))
    changed = held.update(state=State.DATA_STARTED, lease_until=now + outbox_settings().lease_time)
    if changed != len(set(pks)):
        raise LeaseLost(f"{len(set(pks)) - changed} of {len(pks)} mails are not ours any more")


def extend_lease(token: UUID) -> int:
    """Give a sign of life for all that the claim still holds; returns for how many mails that was."""
    using = database()
    until = database_now(using) + outbox_settings().lease_time
    return _held(token, using).update(lease_until=until)


def release(token: UUID, pks: Collection[UUID], *, reason: str = "", delay: float = 0.0, lost: bool = False) -> int:
    """Give back mails of which nothing was written to a relay; they are due again after ``delay`` seconds.

    ``lost`` counts it as a worker that died on them. Returns how many were still ours.
    """
    using = database()
    if not pks:
        return 0
    with short_transaction(using):
        now = database_now(using)
        changes: dict[str, Any] = {"reason": reason} if reason else {}
        if lost:
            changes["lost_leases"] = F("lost_leases") + 1
        return (
            _held(token, using)
            .filter(pk__in=pks, state__in=sources(Event.RELEASE))
            .update(**queued_at(now, delay), **changes)
        )


def queued_at(now: datetime, delay: float = 0.0) -> dict[str, Any]:
    """Return the columns of a mail that waits again."""
    return {"state": State.QUEUED, "next_attempt_at": now + timedelta(seconds=delay), **UNLEASED}


UNLEASED: Final[dict[str, Any]] = {"lease_token": None, "lease_owner": "", "lease_until": None}
"""The columns of a mail that nobody works on."""


def _held(token: UUID, using: str) -> QuerySet[OutboxMessage]:
    return OutboxMessage.objects.using(using).filter(lease_token=token, state__in=LEASED)

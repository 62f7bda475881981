"""A mail becomes a row, in the caller's transaction: rolled back, there is none; committed, it will be handed over."""

from __future__ import annotations

import itertools
from collections.abc import Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from django.db import IntegrityError, connections, transaction
from django.db.models.functions import Now
from django.utils import timezone

from robust_email.messages import to_submission
from robust_email.outbox import postgresql, storage, tracing, wakeup
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import database
from robust_email.outbox.models import DoubtPolicy, OutboxMessage, OutboxRecipient, Priority
from robust_email.outbox.relays import Relay, project_relay, relay_of
from robust_email.outbox.services.withdrawing import withdraw
from robust_email.outbox.states import Event, sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from django.core.mail import EmailMessage

CHUNK: Final = 100
"""Mails of one ``send_messages()`` that are written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a caller may want beside the mail itself; see ``outbox.enqueue``."""

    kind: str = ""
    dedupe_key: str | None = None
    expires_at: datetime | None = None
    send_after: datetime | None = None
    priority: int = Priority.NORMAL
    supersede_key: str | None = None
    in_doubt: Literal["resend", "hold"] | None = None
    sensitive: bool = False
    relay: str | Relay = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.expires_at is not None and self.expires_at <= (self.send_after or timezone.now()):
            raise ValueError("The mail would be worthless before it may go: expires_at is not in the future.")
        if self.priority not in Priority.values:
            raise ValueError(f"priority is one of {Priority.values}, not {self.priority!r}.")
        if self.in_doubt is not None and self.in_doubt not in DoubtPolicy.values:
            raise ValueError(f"in_doubt is one of {DoubtPolicy.values}, not {self.in_doubt!r}.")
        for name, limit in (("kind", 64), ("dedupe_key", 200), ("supersede_key", 200)):
            if len(getattr(self, name) or "") > limit:
                raise ValueError(f"{name} has at most {limit} characters.")

    def resolved_relay(self) -> Relay:
        """Return what to keep with the row; raises as ``relays.relay_of``."""
        if isinstance(self.relay, Relay):
            return self.relay
        return relay_of(reference=self.relay) if self.relay else project_relay()


@dataclass(slots=True)
class _Prepared:
    """A row that is not in the database yet, and who is to have the mail."""

    row: OutboxMessage
    addresses: list[str]


def enqueue_message(message: EmailMessage, wishes: Wishes) -> OutboxMessage:
    """Write one mail; ``ValueError`` and ``ImproperlyConfigured`` as ``outbox.enqueue``."""
    using = database()
    if wishes.dedupe_key is not None:
        return _enqueue_once(message, wishes, wishes.dedupe_key, using)
    prepared = _prepare(message, wishes)
    is_one_statement = wishes.supersede_key is None and postgresql.is_in_use(using)
    with nullcontext() if is_one_statement else transaction.atomic(using=using, savepoint=False):
        _insert([prepared], using)
        _supersede(wishes.supersede_key, prepared.row, using)
    _announce([prepared.row], using)
    return prepared.row


def all_or_none(messages: Iterable[EmailMessage], using: str) -> AbstractContextManager[None]:
    """Begin what ``enqueue_messages`` needs: a transaction, or a savepoint in the caller's.

    One mail on PostgreSQL is one statement and needs neither; but in the caller's transaction its error must be undone
    alone.
    """
    is_one_statement = isinstance(messages, Sized) and len(messages) == 1 and postgresql.is_in_use(using)
    if is_one_statement and not connections[using].in_atomic_block:
        return nullcontext()
    return transaction.atomic(using=using)


def enqueue_messages(messages: Iterable[tuple[EmailMessage, Wishes]]) -> Iterator[OutboxMessage]:
    """Write many, a hundred at once, inside ``all_or_none``; a mail with keys of its own is written by itself."""
    using = database()
    keyed = itertools.groupby(messages, key=lambda pair: bool(pair[1].dedupe_key or pair[1].supersede_key))
    for alone, pairs in keyed:
        if alone:
            yield from (enqueue_message(message, wishes) for message, wishes in pairs)
            continue
        while chunk := [_prepare(message, wishes) for message, wishes in itertools.islice(pairs, CHUNK)]:
            _insert(chunk, using)
            rows = [prepared.row for prepared in chunk]
            _announce(rows, using)
            yield from rows


def _enqueue_once(message: EmailMessage, wishes: Wishes, key: str, using: str) -> OutboxMessage:
    rows = OutboxMessage.objects.using(using).defer("content")
    found = rows.filter(dedupe_key=key).first()
    if found is not None:
        return found
    prepared = _prepare(message, wishes)
    try:
        with transaction.atomic(using=using):
            _insert([prepared], using)
            _supersede(wishes.supersede_key, prepared.row, using)
    except IntegrityError:
        storage.remove_files([prepared.row.content_name])
        found = rows.filter(dedupe_key=key).first()
        if found is None:
            raise
        return found  # somebody else was faster, and his is the mail
    _announce([prepared.row], using)
    return prepared.row


def _prepare(message: EmailMessage, wishes: Wishes) -> _Prepared:
    envelope, data = to_submission(message)
    relay = wishes.resolved_relay()
    row = OutboxMessage(
        message_id=(data.message_id or "")[:255],
        reverse_path=str(envelope.reverse_path),
        relay=relay.name,
        relay_sealed=relay.sealed,
        kind=wishes.kind,
        priority=wishes.priority,
        in_doubt=wishes.in_doubt or outbox_settings().in_doubt,
        sensitive=wishes.sensitive,
        dedupe_key=wishes.dedupe_key,
        supersede_key=wishes.supersede_key,
        send_after=wishes.send_after,
        expires_at=wishes.expires_at,
        traceparent=tracing.traceparent()[:55] or None,
    )
    storage.keep_content(row, data.content)
    return _Prepared(row, [str(path) for path in envelope.forward_paths])


def _insert(prepared: Sequence[_Prepared], using: str) -> None:
    """Insert with the database's time, and leave this host's on the objects: nobody compares those."""
    rows = [each.row for each in prepared]
    if postgresql.is_in_use(using):
        postgresql.insert([(each.row, each.addresses) for each in prepared], using)
    else:
        database_time: Any = Now()
        for row in rows:
            row.created_at = database_time
            row.next_attempt_at = row.send_after or database_time
        OutboxMessage.objects.using(using).bulk_create(rows)
        OutboxRecipient.objects.using(using).bulk_create(
            OutboxRecipient(message=each.row, position=position, address=address)
            for each in prepared
            for position, address in enumerate(each.addresses)
        )
    now = timezone.now()
    for row in rows:
        row.created_at = now
        row.next_attempt_at = row.send_after or now


def _supersede(key: str | None, by: OutboxMessage, using: str) -> None:
    """Let waiting mails with the same key give way. One that a worker has already goes on its way."""
    if key is None:
        return
    older = OutboxMessage.objects.using(using).filter(
        supersede_key=key, state__in=sources(Event.SUPERSEDE), next_attempt_at__isnull=False
    )
    older = older.exclude(pk=by.pk)
    rows = list(older.select_for_update().defer("content").order_by("pk"))
    _, files = withdraw(rows, older, Event.SUPERSEDE, finished_at=Now(), reason=f"superseded by {by.pk}")
    if files:
        transaction.on_commit(partial(storage.remove_files, files), using=using, robust=True)


def _announce(rows: Sequence[OutboxMessage], using: str) -> None:
    now = timezone.now()
    due = [row.pk for row in rows if row.send_after is None or row.send_after <= now]
    if due:
        transaction.on_commit(partial(wakeup.notify, due), using=using, robust=True)
    # For the last lane no task waits at a worker: there may be very many, and none is in a hurry.
    later = [row for row in rows if row.send_after is not None and row.send_after > now and row.priority < Priority.LOW]
    for at, group in itertools.groupby(later, key=lambda row: row.send_after or now):
        tell = partial(wakeup.notify_later, [row.pk for row in group], (at - now).total_seconds())
        transaction.on_commit(tell, using=using, robust=True)

"""Relays that cannot be had: noted once, asked again after a while, and their waiting mail let go when they are back.

Without it each of ten thousand waiting mails would find out for itself that the relay is down.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Case, F, Value, When
from django.db.models.functions import Now

from robust_email.outbox import wakeup
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import (
    CHUNK,
    database_now,
    locking_transaction,
    logger,
    passing_over_locked,
)
from robust_email.outbox.models import TEXT_LENGTH, OutboxMessage, OutboxRelay
from robust_email.outbox.states import State
from robust_email.outbox.verdicts import is_held_back, retry_after
from robust_email.smtp import Scope
from robust_email.smtp.transcript import masked

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from robust_email.smtp import Verdict


def note(name: str, verdict: Verdict, endpoint: str, now: datetime, using: str) -> datetime:
    """Note that a relay could not be had; returns when it is to be asked again. Inside the caller's transaction."""
    settings = outbox_settings()
    trouble = OutboxRelay.Trouble.MISCONFIGURED if verdict.scope is Scope.CONFIGURATION else OutboxRelay.Trouble.DOWN
    known = OutboxRelay.objects.using(using).filter(pk=name).first()
    if known is not None and known.ask_again_at > now and known.trouble in {trouble, OutboxRelay.Trouble.PAUSED}:
        return known.ask_again_at  # another worker has just found out the same, or a person paused it
    failures = known.failures + 1 if known is not None else 1
    if trouble is OutboxRelay.Trouble.MISCONFIGURED:
        pause = settings.configuration_pause
    else:
        delays = settings.retry_schedule or (60.0,)
        pause = delays[min(failures, len(delays)) - 1]
    if is_held_back(verdict):
        # The governor knows when it is worth asking, and it says so for all; but a place may come free before that.
        failures = known.failures if known is not None else 0
        pause = min(max(1.0, retry_after(verdict)), (settings.retry_schedule or (60.0,))[0])
    ask_again_at = now + timedelta(seconds=pause)
    OutboxRelay.objects.using(using).update_or_create(
        name=name,
        defaults={
            "trouble": trouble,
            "since": known.since if known is not None else now,
            "failures": failures,
            "ask_again_at": ask_again_at,
            "reason": masked(verdict.reason)[:TEXT_LENGTH],
            "endpoint": endpoint[:255],
        },
    )
    logger.log(
        logging.INFO if is_held_back(verdict) else logging.ERROR,
        "Relay %s (%s) is %s and is asked again in %.0f s: %s",
        name,
        endpoint,
        trouble.value,
        pause,
        masked(verdict.reason),
        extra={"outbox_relay": name, "outbox_trouble": trouble.value, "outbox_failures": failures},
    )
    return ask_again_at


def hold_back(using: str) -> None:
    """Let the mail of relays that are not to be asked yet wait until they are, using up none of its retries."""
    troubled = list(OutboxRelay.objects.using(using).all())
    if not troubled:
        return
    now = database_now(using)
    for relay in troubled:
        if relay.ask_again_at > now:
            waiting = OutboxMessage.objects.using(using).filter(
                relay=relay.name, next_attempt_at__lt=relay.ask_again_at, state=State.QUEUED
            )
            _in_chunks(waiting, using, next_attempt_at=relay.ask_again_at, waits_for_relay=True, reason=relay.reason)


def pause(name: str, until: datetime, reason: str, using: str) -> None:
    """Leave a relay alone until then, whatever a worker that is with it now finds out. Inside the caller's transaction.

    What was known of a trouble gives way: it is found out again when the relay is asked again.
    """
    OutboxRelay.objects.using(using).update_or_create(
        name=name,
        defaults={
            "trouble": OutboxRelay.Trouble.PAUSED,
            "since": database_now(using),
            "failures": 0,
            "ask_again_at": until,
            "reason": reason[:TEXT_LENGTH],
        },
    )


def is_over(name: str, using: str, *, by_hand: bool = False) -> bool:
    """Note that a relay took a mail or gave it an answer: if it was in trouble, its waiting mail is due now.

    A pause is over when its time has come, or by hand.
    """
    relays = OutboxRelay.objects.using(using).filter(pk=name)
    if not by_hand:
        relays = relays.exclude(trouble=OutboxRelay.Trouble.PAUSED, ask_again_at__gt=Now())
    if not relays.delete()[0]:
        return False
    waiting = OutboxMessage.objects.using(using).filter(
        relay=name, next_attempt_at__isnull=False, state=State.QUEUED, waits_for_relay=True
    )
    now = database_now(using)
    due: Any = Case(When(send_after__gt=now, then=F("send_after")), default=Value(now))
    let_go = _in_chunks(waiting, using, next_attempt_at=due, waits_for_relay=False)
    logger.info("Relay %s answers again; %d waiting mails go now", name, let_go, extra={"outbox_relay": name})
    if let_go:
        wakeup.notify_backlog()
    return True


def _in_chunks(rows: QuerySet[OutboxMessage], using: str, **changes: Any) -> int:  # noqa: ANN401 - of many types
    """Change rows that leave the query by it, a thousand at a time, passing over those that others have."""
    total = 0
    while True:
        with locking_transaction(using):
            pks = list(passing_over_locked(rows).values_list("pk", flat=True)[:CHUNK])
            changed = rows.filter(pk__in=pks).update(**changes) if pks else 0
        total += changed
        if changed < CHUNK:
            return total

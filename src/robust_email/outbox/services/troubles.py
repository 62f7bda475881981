"""Relays that cannot be had: noted once, asked again after a while, and their waiting mail let go when they are back.

Without it each of ten thousand waiting mails would find out for itself that the relay is down.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.db.models import Case, Exists, F, Q, Value, When
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


SOON: Final = 1.0
"""Seconds for which a relay is left alone at least."""


def note(name: str, verdict: Verdict, endpoint: str, now: datetime, using: str) -> datetime:
    """Note that a relay could not be had; returns when it is to be asked again. Inside the caller's transaction."""
    settings = outbox_settings()
    trouble = OutboxRelay.Trouble.MISCONFIGURED if verdict.scope is Scope.CONFIGURATION else OutboxRelay.Trouble.DOWN
    # Under a lock: who has read a long pause and waits for its end must not write that behind the one who ended it.
    known = OutboxRelay.objects.using(using).select_for_update().filter(pk=name).first()
    if known is not None and known.is_returning:
        known = None
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
        # Without a trouble that is known, this may be from before the relay came back: it is asked again at once.
        failures = known.failures if known is not None else 0
        longest = SOON if known is None else (settings.retry_schedule or (60.0,))[0]
        pause = min(max(SOON, retry_after(verdict)), longest)
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


def hold_back(using: str) -> list[OutboxRelay]:
    """Let the mail of relays that are not to be asked yet wait until they are, using up none of its retries.

    Returns all relays in trouble, those that are to be asked now among them.
    """
    troubled = list(OutboxRelay.objects.using(using).all())
    if not troubled:
        return []
    now = database_now(using)
    for relay in troubled:
        if relay.ask_again_at > now:
            # Under a lock, and only while that is so: whoever finds the relay well lets go what has been held back by
            # then, and nothing may be held back behind him.
            still_so = OutboxRelay.objects.using(using).filter(pk=relay.name, ask_again_at__gte=relay.ask_again_at)
            waiting = OutboxMessage.objects.using(using).filter(
                Exists(still_so), relay=relay.name, next_attempt_at__lt=relay.ask_again_at, state=State.QUEUED
            )
            changes = {"next_attempt_at": relay.ask_again_at, "waits_for_relay": True, "reason": relay.reason}
            _in_chunks(waiting, using, locking=still_so, **changes)
    return [relay for relay in troubled if not relay.is_returning]


def pause(name: str, until: datetime, reason: str, using: str) -> None:
    """Leave a relay alone until then, whatever a worker that is with it now finds out. Inside the caller's transaction.

    What was known of a trouble gives way: it is found out again when the relay is asked again. Mail that waited for a
    later end waits for this one, once the transaction is committed.
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
    transaction.on_commit(partial(_pull_back, name, until, using), using=using)


def _pull_back(name: str, until: datetime, using: str) -> int:
    """Have no mail wait longer than the pause of its relay; returns how many did."""
    still_so = OutboxRelay.objects.using(using).filter(
        pk=name, trouble=OutboxRelay.Trouble.PAUSED, ask_again_at__lte=until
    )
    late = OutboxMessage.objects.using(using).filter(
        Exists(still_so),
        Q(send_after__isnull=True) | Q(send_after__lt=F("next_attempt_at")),
        relay=name,
        next_attempt_at__gt=until,
        state=State.QUEUED,
        waits_for_relay=True,
    )
    return _in_chunks(late, using, next_attempt_at=_not_before(until))


def is_over(name: str, using: str, *, by_hand: bool = False) -> bool:
    """Note that a relay took a mail or gave it an answer: if it was in trouble, its waiting mail is due now.

    A pause is over when its time has come, or by hand. Inside a transaction the mail goes once that is committed.
    """
    relays = OutboxRelay.objects.using(using).filter(pk=name)
    if not by_hand:
        relays = relays.exclude(trouble=OutboxRelay.Trouble.PAUSED, ask_again_at__gt=Now())
    if not relays.exists():
        return False
    now = database_now(using)
    # The row goes last: if this worker dies before that, the sweep reads from it that mail is still to be let go.
    if not relays.update(trouble=OutboxRelay.Trouble.DOWN, since=now, ask_again_at=now, failures=0):
        return False
    transaction.on_commit(partial(_let_go, name, now, using), using=using)
    return True


def _let_go(name: str, since: datetime, using: str) -> int:
    """Have the mail that waits for a relay go now; returns how much that was."""
    waiting = OutboxMessage.objects.using(using).filter(
        relay=name, next_attempt_at__isnull=False, state=State.QUEUED, waits_for_relay=True
    )
    let_go = _in_chunks(waiting, using, next_attempt_at=_not_before(database_now(using)), waits_for_relay=False)
    OutboxRelay.objects.using(using).filter(pk=name, since=since, ask_again_at=since).delete()
    logger.info("Relay %s answers again; %d waiting mails go now", name, let_go, extra={"outbox_relay": name})
    if let_go:
        wakeup.notify_backlog()
    return let_go


def _not_before(moment: datetime) -> Any:  # noqa: ANN401 - an expression of Django's
    return Case(When(send_after__gt=moment, then=F("send_after")), default=Value(moment))


def finish_letting_go(using: str) -> int:
    """Do what a worker that died has left of a relay's return, or of a pause's new end; returns for how many mails."""
    done = 0
    for relay in OutboxRelay.objects.using(using).all():
        if relay.is_returning:
            done += _let_go(relay.name, relay.since, using)
        elif relay.trouble == OutboxRelay.Trouble.PAUSED:
            done += _pull_back(relay.name, relay.ask_again_at, using)
    return done


def _in_chunks(
    rows: QuerySet[OutboxMessage],
    using: str,
    *,
    locking: QuerySet[OutboxRelay] | None = None,
    **changes: Any,  # noqa: ANN401 - of many types
) -> int:
    """Change rows that leave the query by it, a thousand at a time, passing over those that others have.

    ``locking`` is kept as it is meanwhile.
    """
    total = 0
    while True:
        with locking_transaction(using):
            if locking is not None:
                list(locking.select_for_update())
            pks = list(passing_over_locked(rows).values_list("pk", flat=True)[:CHUNK])
            changed = rows.filter(pk__in=pks).update(**changes) if pks else 0
        total += changed
        if changed < CHUNK:
            return total

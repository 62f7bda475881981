"""Recipients who are kept back at the gate are refused here, before any relay is asked: that is no attempt."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from robust_email.outbox import gate
from robust_email.outbox.database import UNAVAILABLE, database, database_now, short_transaction, until_it_holds
from robust_email.outbox.models import TEXT_LENGTH, DoubtPolicy, OutboxMessage, OutboxRecipient
from robust_email.outbox.services.claims import UNLEASED
from robust_email.outbox.services.scrubbing import NO_BODY, SCRUBBED_STATES, is_scrubbed
from robust_email.outbox.services.settling import Settled
from robust_email.outbox.states import LEASED, State, after
from robust_email.outbox.verdicts import Standing, ending, is_open

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from robust_email.outbox.services.claims import Claim, Recipient


def withhold(claim: Claim, give_up: Callable[[], bool]) -> tuple[Claim, list[Settled]]:
    """Refuse the recipients who are kept back; returns what is left to hand over, and the mails that ended by it.

    Goes on trying while the database is away; once ``give_up`` says so, nothing is handed over, and the sweep will
    find the mails.
    """
    reasons = _kept_back(claim)
    if not reasons:
        return claim, []
    for to in reasons:
        to.standing = Standing.REFUSED
    concerned = {to.message_id for to in reasons}
    over = [row for row in claim.rows if row.pk in concerned and not _is_anybody_left(claim, row)]
    using = database()
    try:
        ended = until_it_holds(lambda: _write(claim, over, reasons, using), using=using, give_up=give_up)
    except UNAVAILABLE:
        return dataclasses.replace(claim, rows=()), []
    return dataclasses.replace(claim, rows=tuple(row for row in claim.rows if row not in over)), ended


def _write(claim: Claim, over: Sequence[OutboxMessage], reasons: dict[Recipient, str], using: str) -> list[Settled]:
    with short_transaction(using):
        now = database_now(using)
        ended = [done for row in over if (done := _end(claim, row, reasons, now, using)) is not None]
        lost = {row.pk for row in over} - {done.row.pk for done in ended}
        _refuse({to: reason for to, reason in reasons.items() if to.message_id not in lost}, now, using)
    return ended


def _kept_back(claim: Claim) -> dict[Recipient, str]:
    if not gate.is_attended():
        return {}
    kinds = {row.pk: row.kind for row in claim.rows}
    policies = {row.pk: DoubtPolicy(row.in_doubt) for row in claim.rows}
    asked = {
        to: (kinds[to.message_id], to.address)
        for pk in kinds
        for to in claim.recipients[pk]
        # One in doubt may have it: a refusal would be no truth about him.
        if is_open(to.standing, policies[pk]) and to.standing is not Standing.IN_DOUBT
    }
    found = gate.kept_back(set(asked.values()))
    return {to: found[question] for to, question in asked.items() if question in found}


def _is_anybody_left(claim: Claim, row: OutboxMessage) -> bool:
    policy = DoubtPolicy(row.in_doubt)
    return any(is_open(to.standing, policy) for to in claim.recipients[row.pk])


def _end(claim: Claim, row: OutboxMessage, reasons: dict[Recipient, str], now: datetime, using: str) -> Settled | None:
    """End a mail that has nobody left to go to. None if it is not ours any more."""
    state: State = after(State.CLAIMED, ending([to.standing for to in claim.recipients[row.pk]]))
    changes: dict[str, Any] = {
        "state": state,
        "finished_at": now,
        "reason": next(reason for to, reason in reasons.items() if to.message_id == row.pk)[:TEXT_LENGTH],
        **UNLEASED,
        **(NO_BODY if state in SCRUBBED_STATES and is_scrubbed(row) else {}),
    }
    held = OutboxMessage.objects.using(using).filter(pk=row.pk, lease_token=claim.token, state__in=LEASED)
    return Settled(row, None, state, None) if held.update(**changes) else None


def _refuse(reasons: dict[Recipient, str], now: datetime, using: str) -> None:
    by_reason: dict[str, list[int]] = defaultdict(list)
    for to, reason in reasons.items():
        by_reason[reason[:TEXT_LENGTH]].append(to.pk)
    for reason, pks in by_reason.items():
        OutboxRecipient.objects.using(using).filter(pk__in=pks).update(
            standing=Standing.REFUSED, code=None, enhanced_code="", reason=reason, settled_at=now
        )

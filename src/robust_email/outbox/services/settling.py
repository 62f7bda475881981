"""What an attempt came to is written down: the row, a verdict for each recipient, the attempt; all or nothing.

Mails that were accepted by all on the first word are the rule, and are written together: five statements for a whole
window, or one on PostgreSQL. Whatever a window holds besides is written one by one. A mail whose lease went to somebody
else is left alone.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import F

from robust_email.outbox import postgresql
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import database_now, logger, short_transaction
from robust_email.outbox.models import TEXT_LENGTH, DoubtPolicy, OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.outbox.services import troubles
from robust_email.outbox.services.claims import UNLEASED, mark_data_started
from robust_email.outbox.services.scrubbing import NO_BODY, SCRUBBED_STATES, is_scrubbed
from robust_email.outbox.states import LEASED, Event, State, after, sources
from robust_email.outbox.verdicts import Decision, LongRun, Standing, decide, ending, standing_of
from robust_email.smtp import Disposition, Scope
from robust_email.smtp.transcript import masked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from robust_email.outbox.services.claims import Claim
    from robust_email.smtp import SubmissionReport, Verdict


@dataclass(frozen=True, slots=True)
class Finished:
    """A mail and what came of it: a report, or, for one that could not be submitted at all, why not."""

    row: OutboxMessage
    report: SubmissionReport | None
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What was written down."""

    row: OutboxMessage
    report: SubmissionReport | None
    state: State
    next_attempt_at: datetime | None


class _NotAllOurs(Exception):
    """Somebody else has one of the mails that were to be written together."""


def settle(claim: Claim, finished: Sequence[Finished], marks: Sequence[UUID], using: str) -> list[Settled]:
    """Write down what came of these mails and, with the same commit, that the ``marks`` are about to leave.

    Returns what was written; of mails that are not ours any more, nothing. Raises ``LeaseLost`` for the marks; then,
    and on any other error, nothing has changed.
    """
    try:
        return _settle(claim, finished, marks, using, together=True)
    except _NotAllOurs:
        return _settle(claim, finished, marks, using, together=False)


def _settle(
    claim: Claim, finished: Sequence[Finished], marks: Sequence[UUID], using: str, *, together: bool
) -> list[Settled]:
    plain: list[Finished] = []
    others: list[Finished] = []
    for each in finished:
        (plain if together and _is_plain(claim, each) else others).append(each)
    if together and not others and postgresql.is_in_use(using) and not connections[using].in_atomic_block:
        return _settle_at_once(claim, plain, marks, using)
    with short_transaction(using):
        now = database_now(using)
        settled = _settle_accepted(claim, plain, now, using)
        settled += [done for each in others if (done := _settle_one(claim, each, now, using)) is not None]
        if marks:
            mark_data_started(claim.token, marks, now, using)
    return settled


def _is_plain(claim: Claim, finished: Finished) -> bool:
    """Tell whether every recipient accepted at the first word."""
    report = finished.report
    return report is not None and report.all_accepted and len(report.verdicts) == len(claim.recipients[finished.row.pk])


def _settle_at_once(claim: Claim, finished: Sequence[Finished], marks: Sequence[UUID], using: str) -> list[Settled]:
    """As ``_settle_accepted`` and ``mark_data_started``, by one statement that is a transaction by itself."""
    attempts = {each.row.pk: _attempt(claim, each) for each in finished}
    scrubbed = [each.row.pk for each in finished if is_scrubbed(each.row)]
    if not postgresql.settle(claim.token, attempts, scrubbed, marks, using):
        raise _NotAllOurs
    return [Settled(each.row, each.report, State.ACCEPTED, None) for each in finished]


def _settle_accepted(claim: Claim, finished: Sequence[Finished], now: datetime, using: str) -> list[Settled]:
    for scrub in (True, False):
        pks = [each.row.pk for each in finished if is_scrubbed(each.row) is scrub]
        held = OutboxMessage.objects.using(using).filter(
            pk__in=pks, lease_token=claim.token, state__in=sources(Event.ACCEPT)
        )
        changes = {"attempts": F("attempts") + 1, "reason": "", **UNLEASED, **(NO_BODY if scrub else {})}
        if pks and held.update(state=State.ACCEPTED, finished_at=now, **changes) != len(pks):
            raise _NotAllOurs
    by_reply: dict[tuple[int | None, str], list[UUID]] = defaultdict(list)
    for each in finished:
        by_reply[_codes(_verdict(each))].append(each.row.pk)
    for (code, enhanced), pks in by_reply.items():
        OutboxRecipient.objects.using(using).filter(message_id__in=pks).update(
            standing=Standing.ACCEPTED, code=code, enhanced_code=enhanced, reason="", settled_at=now
        )
    _record(claim, finished, now, using)
    return [Settled(each.row, each.report, State.ACCEPTED, None) for each in finished]


def _settle_one(claim: Claim, finished: Finished, now: datetime, using: str) -> Settled | None:
    """Write down one mail, whatever came of it. None if it is not ours any more."""
    row, report, standings = finished.row, finished.report, _standings(claim, finished)
    changes: dict[str, Any]
    if report is None:
        decision, changes = Decision(ending(standings)), {"reason": masked(finished.unusable)[:TEXT_LENGTH]}
    else:
        decision = decide(standings, report.verdicts, _long_run(row, now), random.random)
        changes = {"reason": _reason(report), **_counts(report, decision)}
    state = after(State.DATA_STARTED, decision.event)
    changes |= {"state": state, **UNLEASED}
    if decision.event is Event.DEFER:
        changes |= _waiting(row, report, decision, now, using)
    else:
        changes["finished_at"] = now
        if state in SCRUBBED_STATES and is_scrubbed(row):
            changes |= NO_BODY
    held = OutboxMessage.objects.using(using).filter(pk=row.pk, lease_token=claim.token, state__in=LEASED)
    if not held.update(**changes):
        logger.warning("Mail %s is not ours any more; what came of this attempt is not written down", row.pk)
        return None
    if report is not None:
        _note_verdicts(claim, finished, now, using)
        _record(claim, [finished], now, using)
    return Settled(row, report, state, changes.get("next_attempt_at"))


def _waiting(
    row: OutboxMessage, report: SubmissionReport | None, decision: Decision, now: datetime, using: str
) -> dict[str, Any]:
    asked = None
    if decision.waits_for_relay and report is not None:
        asked = troubles.note(row.relay, _of_trouble(report), report.endpoint, now, using)
    at = asked if decision.delay is None and asked is not None else now + timedelta(seconds=decision.delay or 0.0)
    return {"next_attempt_at": at, "waits_for_relay": decision.waits_for_relay}


def _of_trouble(report: SubmissionReport) -> Verdict:
    scopes = (Scope.CONFIGURATION, Scope.ENDPOINT)
    return min(
        report.verdicts.values(), key=lambda each: scopes.index(each.scope) if each.scope in scopes else len(scopes)
    )


def _standings(claim: Claim, finished: Finished) -> list[Standing]:
    verdicts = finished.report.verdicts if finished.report is not None else {}
    return [
        standing_of(verdicts[to.address]) if to.address in verdicts else to.standing
        for to in claim.recipients[finished.row.pk]
    ]


def _long_run(row: OutboxMessage, now: datetime) -> LongRun:
    settings = outbox_settings()
    return LongRun(
        policy=DoubtPolicy(row.in_doubt),
        schedule=settings.schedule,
        retries=row.retries,
        age=(now - max(row.created_at, row.send_after or row.created_at)).total_seconds(),
        outage_patience=settings.outage_patience,
    )


def _counts(report: SubmissionReport, decision: Decision) -> dict[str, Any]:
    return {
        "attempts": F("attempts") + 1,
        "retries": F("retries") + int(decision.uses_retry),
        "doubts": F("doubts") + int(bool(report.in_doubt)),
    }


def _note_verdicts(claim: Claim, finished: Finished, now: datetime, using: str) -> None:
    if finished.report is None:
        return
    groups: dict[tuple[Standing, int | None, str, str], list[int]] = defaultdict(list)
    for to in claim.recipients[finished.row.pk]:
        if (verdict := finished.report.verdicts.get(to.address)) is not None:
            accepted = verdict.disposition is Disposition.ACCEPTED
            reason = "" if accepted else masked(verdict.reason)[:TEXT_LENGTH]
            groups[standing_of(verdict), *_codes(verdict), reason].append(to.pk)
    for (standing, code, enhanced, reason), pks in groups.items():
        OutboxRecipient.objects.using(using).filter(pk__in=pks).update(
            standing=standing, code=code, enhanced_code=enhanced, reason=reason, settled_at=now
        )


def _record(claim: Claim, finished: Sequence[Finished], now: datetime, using: str) -> None:
    if finished:
        SubmissionAttempt.objects.using(using).bulk_create(
            [SubmissionAttempt(ended_at=now, **_attempt(claim, each)) for each in finished]
        )


def _attempt(claim: Claim, finished: Finished) -> dict[str, Any]:
    """Return the columns of an attempt, but for when it ended."""
    report, verdict = finished.report, _verdict(finished)
    if report is None:
        raise ValueError("only a submission has an attempt")
    code, enhanced = _codes(verdict)
    return {
        "message_id": finished.row.pk,
        "seconds": report.seconds,
        "endpoint": report.endpoint[:255],
        "worker": claim.owner,
        "phase": verdict.phase.value,
        "disposition": verdict.disposition.value,
        "scope": verdict.scope.value,
        "code": code,
        "enhanced_code": enhanced,
        "reply": masked(verdict.reason)[:TEXT_LENGTH],
        "accepted": len(report.accepted),
        "deferred": len(report.deferred),
        "refused": len(report.refused),
        "in_doubt": len(report.in_doubt),
    }


def _verdict(finished: Finished) -> Verdict:
    if finished.report is None:
        raise ValueError("only a submission has a verdict")
    return finished.report.decisive


def _reason(report: SubmissionReport) -> str:
    decisive = report.decisive
    return "" if decisive.disposition is Disposition.ACCEPTED else masked(decisive.reason)[:TEXT_LENGTH]


def _codes(verdict: Verdict) -> tuple[int | None, str]:
    reply = verdict.reply
    if reply is None:
        return None, ""
    return reply.code, str(reply.enhanced)[:16] if reply.enhanced is not None else ""

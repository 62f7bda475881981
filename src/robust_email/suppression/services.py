"""Every change of who is suppressed, each one short transaction, and each with its evidence."""

from __future__ import annotations

import enum
import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from robust_email.smtp import InvalidAddress
from robust_email.smtp.transcript import masked
from robust_email.suppression import selectors, tokens
from robust_email.suppression.addresses import canonical, digest_of
from robust_email.suppression.conf import suppression_settings
from robust_email.suppression.models import (
    TEXT_LENGTH,
    Effect,
    Reason,
    Source,
    SuppressedAddress,
    SuppressionEvidence,
)
from robust_email.suppression.policy import Term, longer
from robust_email.suppression.reports import MAX_OCTETS, RecipientStatus, Report, ReportKind, read_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

_REASONS = {Source.RELAY: Reason.REFUSED, Source.REPORT: Reason.REFUSED, Source.FEEDBACK: Reason.COMPLAINT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Something said about an address. ``status`` is an enhanced status code, or empty; ``code`` a reply code."""

    address: str = field(repr=False)
    source: Source
    status: str = ""
    code: int | None = None
    message_id: str = ""
    detail: str = field(default="", repr=False)
    occasion: str = ""
    """What a second reading of the same has in common with the first; the Message-ID unless given."""


class BounceOutcome(enum.Enum):
    """What became of an inbound mail."""

    SUPPRESSED = "suppressed"
    """At least one address is suppressed by it, or was already."""
    NOTED = "noted"
    """It is about a mail of ours, and by the policy nothing follows."""
    FORGED = "forged"
    """It names no mail that a relay took from us for that recipient, and bears no token of ours."""
    MALFORMED = "malformed"
    IGNORED = "ignored"
    """No report: automatic mail, or a person's."""


@dataclass(frozen=True, slots=True)
class BounceResult:
    """What became of an inbound mail; ``suppressed`` are the addresses, as our mails had them."""

    outcome: BounceOutcome
    kind: ReportKind
    suppressed: tuple[str, ...] = field(default=(), repr=False)


def process_bounce(raw: bytes, *, recipient: str = "") -> BounceResult:
    """Read and judge one inbound mail; see ``suppression.process_bounce``."""
    report = read_report(raw)
    if report.kind is ReportKind.MALFORMED:
        return BounceResult(BounceOutcome.MALFORMED, report.kind)
    if report.kind not in {ReportKind.DELIVERY_STATUS, ReportKind.COMPLAINT}:
        return BounceResult(BounceOutcome.IGNORED, report.kind)
    # Of a report that returns no Message-ID, the octets tell a second reading from a second event.
    occasion = report.message_ids[0] if report.message_ids else hashlib.sha256(raw[:MAX_OCTETS]).hexdigest()
    found = _one_each(_proven(report, recipient, occasion))
    if not found:
        return BounceResult(BounceOutcome.FORGED, report.kind)
    suppressed = tuple(each.address for each in found if note(each) is Effect.SUPPRESSED)
    return BounceResult(BounceOutcome.SUPPRESSED if suppressed else BounceOutcome.NOTED, report.kind, suppressed)


def _one_each(found: Iterable[Evidence]) -> list[Evidence]:
    """Keep one thing said about each address, what suppresses first: one mail must not become a thousand rows."""
    kept: dict[str, Evidence] = {}
    for each in found:
        digest = digest_of(each.address)
        if digest not in kept or (_term_of(kept[digest]) is None and _term_of(each) is not None):
            kept[digest] = each
    return [*kept.values()]


def _proven(report: Report, recipient: str, occasion: str) -> Iterator[Evidence]:
    """Yield what a report says about recipients whom it can be about: the mail, or the token, was for them."""
    ours = selectors.recipients_of(report.message_ids)
    named = tokens.named_digests([recipient, *report.addressed_to])
    complaint = report.kind is ReportKind.COMPLAINT
    statuses = report.recipients
    if complaint and not statuses and len(ours) == 1:
        statuses = (RecipientStatus(tuple(ours.values()), "complaint"),)
    for status in statuses:
        address = next((address for address in status.addresses if _is_proven(address, ours, named)), None)
        if address is not None:
            yield Evidence(
                address=ours.get(digest_of(address), address),
                source=Source.FEEDBACK if complaint else Source.REPORT,
                # What is delayed or was relayed on is no refusal, whatever code it comes with.
                status=status.status if status.action == "failed" else "",
                message_id=report.message_ids[0] if report.message_ids else "",
                detail=status.action,
                occasion=occasion,
            )


def _is_proven(address: str, ours: dict[str, str], named: frozenset[str]) -> bool:
    try:
        digest = digest_of(address)
    except InvalidAddress:
        return False
    return digest in ours or tokens.is_named(digest, named)


def note(evidence: Evidence) -> Effect:
    """Write down a piece of evidence, once, and suppress the address if the policy says so.

    Returns what followed, now or when the same evidence came first. Raises ``InvalidAddress``.
    """
    term = _term_of(evidence)
    return _note(evidence, Effect.NOTHING if term is None else Effect.SUPPRESSED, term)


def suppress(address: str, *, expires_at: datetime | None = None, remark: str = "") -> SuppressedAddress:
    """Suppress an address as a person decided, until then or for ever. Raises ``InvalidAddress``."""
    evidence = Evidence(address=address, source=Source.PERSON, detail=remark)
    with transaction.atomic(using=selectors.database()):
        _add_evidence(evidence, Effect.SUPPRESSED)
        return _suppress(evidence, Reason.PERSON, expires_at)


def lift(row: SuppressedAddress, *, remark: str = "") -> None:
    """Let the address have mail again. The evidence stays, and evidence that is read once more changes nothing."""
    with transaction.atomic(using=selectors.database()):
        _insert(
            SuppressionEvidence(
                digest=row.digest,
                noted_at=timezone.now(),
                source=Source.PERSON,
                effect=Effect.LIFTED,
                status=row.status,
                detail=masked(remark)[:TEXT_LENGTH],
            )
        )
        row.delete()


def erase(address: str) -> int:
    """Forget the address and keep it suppressed, by its digest; returns how many rows there were. 0 or 1.

    Raises ``InvalidAddress``.
    """
    rows = SuppressedAddress.objects.using(selectors.database())
    return rows.filter(digest=digest_of(address)).update(address="")


def _term_of(evidence: Evidence) -> Term | None:
    policy = suppression_settings().policy
    if evidence.source is Source.FEEDBACK:
        return policy.of_complaint()
    return policy.of_refusal(evidence.status, evidence.code)


def _note(evidence: Evidence, effect: Effect, term: Term | None) -> Effect:
    with transaction.atomic(using=selectors.database()):
        if not _add_evidence(evidence, effect):
            return effect
        if term is not None:
            _suppress(evidence, _REASONS[evidence.source], term.end(timezone.now()))
    return effect


def _add_evidence(evidence: Evidence, effect: Effect) -> bool:
    """Return whether it is new."""
    return _insert(
        SuppressionEvidence(
            digest=digest_of(evidence.address),
            noted_at=timezone.now(),
            source=evidence.source,
            effect=effect,
            status=_status_of(evidence),
            message_id=evidence.message_id[:255],
            detail=masked(evidence.detail)[:TEXT_LENGTH],
        ),
        evidence.occasion or evidence.message_id,
    )


def _status_of(evidence: Evidence) -> str:
    return (evidence.status or str(evidence.code or ""))[:16]


def _insert(row: SuppressionEvidence, occasion: str = "") -> bool:
    """Add it unless the same of this occasion is there; returns whether it was new. None given, it is one by itself."""
    occasion = occasion or uuid.uuid4().hex
    row.fingerprint = hashlib.sha256(f"{row.digest} {row.source} {row.status} {occasion}".encode()).hexdigest()
    using = selectors.database()
    try:
        # The transaction begins with a write: on SQLite one that reads first may not write if somebody else has.
        with transaction.atomic(using=using):
            row.save(using=using, force_insert=True)
    except IntegrityError:
        return False
    return True


def _suppress(evidence: Evidence, reason: Reason, until: datetime | None) -> SuppressedAddress:
    """Suppress, or lengthen a term that is running; one that is over begins anew."""
    now = timezone.now()
    values = {
        "reason": reason,
        "source": evidence.source,
        "status": _status_of(evidence),
        "expires_at": until,
    }
    rows = SuppressedAddress.objects.using(selectors.database()).select_for_update()
    row, is_new = rows.get_or_create(
        digest=digest_of(evidence.address),
        defaults={"address": canonical(evidence.address), "created_at": now, **values},
    )
    if is_new:
        return row
    if row.expires_at is not None and row.expires_at <= now:
        values["created_at"] = now
    elif longer(row.expires_at, until) == row.expires_at:
        return row
    for name, value in values.items():
        setattr(row, name, value)
    row.save(update_fields=[*values])
    return row

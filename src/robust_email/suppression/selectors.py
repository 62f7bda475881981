"""Reads: who is suppressed, and whom a mail of ours went to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import router
from django.db.models import Q
from django.utils import timezone

from robust_email.outbox.database import database as outbox_database
from robust_email.outbox.models import OutboxMessage, OutboxRecipient
from robust_email.outbox.states import State
from robust_email.smtp import InvalidAddress
from robust_email.suppression.addresses import digest_of
from robust_email.suppression.conf import suppression_settings
from robust_email.suppression.models import Reason, SuppressedAddress, SuppressionEvidence

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from robust_email.outbox.gate import Asked

CHUNK: Final = 500
"""Digests in one query."""
MAX_RECIPIENTS: Final = 1_000
"""Of one mail that a report is held against."""
_TAKEN: Final = (OutboxRecipient.Standing.ACCEPTED, OutboxRecipient.Standing.IN_DOUBT)


def database() -> str:
    """Return the alias of the database that holds the suppressed addresses."""
    return router.db_for_write(SuppressedAddress)


def active() -> QuerySet[SuppressedAddress]:
    """Return those whose term is not over."""
    rows = SuppressedAddress.objects.using(database())
    return rows.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()))


def is_suppressed(address: str) -> bool:
    """Tell whether the outbox offers no mail for this address. Not for what strangers see: it tells who has one."""
    return active().filter(digest=_digest(address)).exists()


def suppressed(asked: Collection[Asked]) -> Mapping[Asked, str]:
    """Return the reason for each of these kinds and addresses that is suppressed; the outbox's gate."""
    exempt = suppression_settings().exempt_kinds
    digests = {each: digest for each in asked if each[0] not in exempt and (digest := _digest(each[1]))}
    wanted = sorted(set(digests.values()))
    reasons: dict[str, str] = {}
    for start in range(0, len(wanted), CHUNK):
        for row in active().filter(digest__in=wanted[start : start + CHUNK]):
            reasons[row.digest] = " ".join(filter(None, ("suppressed:", Reason(row.reason).label, row.status)))
    return {each: reasons[digest] for each, digest in digests.items() if digest in reasons}


def evidence_about(digest: str) -> QuerySet[SuppressionEvidence]:
    """Return all that was said about an address, in the order it came."""
    return SuppressionEvidence.objects.using(database()).filter(digest=digest).order_by("pk")


def listed(digests: Collection[str], over: datetime | None) -> frozenset[str]:
    """Return which of these have a row, but for one whose term was over by ``over``."""
    rows = SuppressedAddress.objects.using(database()).filter(digest__in=digests)
    if over is not None:
        rows = rows.exclude(expires_at__lt=over)
    return frozenset(rows.values_list("digest", flat=True))


def kept_mails(message_ids: Collection[str]) -> frozenset[str]:
    """Return which of these are Message-IDs of mails that the outbox still has."""
    rows = OutboxMessage.objects.using(outbox_database()).filter(message_id__in=message_ids)
    return frozenset(rows.values_list("message_id", flat=True)) if message_ids else frozenset()


def recipients_of(message_ids: Sequence[str]) -> dict[str, str]:
    """Return the recipients, as address by digest, for whom a relay took a mail of ours with one of these Message-IDs.

    Who was never offered it cannot have bounced it.
    """
    if not message_ids:
        return {}
    rows = OutboxRecipient.objects.using(outbox_database()).filter(
        # Marked before the relay may have it: a report may be faster than the verdict's commit.
        Q(standing__in=_TAKEN) | Q(message__state=State.DATA_STARTED),
        message__message_id__in=message_ids,
    )
    found = rows.values_list("address", flat=True)[:MAX_RECIPIENTS]
    return {digest: address for address in found if (digest := _digest(address))}


def _digest(address: str) -> str:
    """Return the digest, or nothing for what is no address: one malformed row must not stop the others."""
    try:
        return digest_of(address)
    except InvalidAddress:
        return ""

"""Reads: what became of the mails to a customer, and how many there were in a day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from allauth.account.models import EmailAddress
from django.utils import timezone

from authentication.core.models import User, canonical_email
from authentication.verification.kinds import KINDS
from robust_email.outbox.models import OutboxRecipient
from robust_email.outbox.selectors import messages_to

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

    from robust_email.outbox.models import OutboxMessage

DAY = timedelta(days=1)


def language_of(address: str) -> str:
    """Return the language that the account of this address is written to in; empty if there is none."""
    return User.objects.filter(email=address).values_list("language", flat=True).first() or ""


def capped_mails_of_a_day(address: str) -> int:
    """Count the mails of the last 24 hours that anybody can cause who knows the address."""
    kinds = [kind.name for kind in KINDS.values() if kind.capped]
    return OutboxRecipient.objects.filter(
        address=address, message__kind__in=kinds, message__created_at__gt=timezone.now() - DAY
    ).count()


def mails_to_customer(user: User) -> QuerySet[OutboxMessage]:
    """Return the mails to the customer's proven addresses, the newest first, without their bodies.

    What was mailed before the account was made belongs to whoever had the address then.
    """
    proven = EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True)
    return mails_to(proven).filter(created_at__gte=user.date_joined)


def mails_to(addresses: Iterable[str]) -> QuerySet[OutboxMessage]:
    """Return the mails to these addresses, however they are written; the newest first, without their bodies."""
    return messages_to(canonical_email(address) for address in addresses)

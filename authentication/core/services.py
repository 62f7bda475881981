"""Changes to accounts, each one transaction. What allauth does by itself (sign-up, reset, ...) is not repeated here."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from allauth.account.models import EmailAddress
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from authentication.core.models import User

UNVERIFIED_KEPT: Final = timedelta(days=7)
"""After which an address that nobody has proven is free again, for its owner."""


@transaction.atomic
def delete_account(*, user: User) -> None:
    """Remove the account and all that hangs on it, its sessions included."""
    user.delete()


@transaction.atomic
def purge_unverified(*, older_than: timedelta = UNVERIFIED_KEPT) -> int:
    """Remove the accounts whose address was never proven, and sessions that have expired; returns how many accounts.

    Somebody may have registered with an address that is not his. Its owner ignores the mail, and is not kept from
    registering himself for longer than this.
    """
    now = timezone.now()
    Session.objects.filter(expire_date__lt=now).delete()
    proven = EmailAddress.objects.filter(user=OuterRef("pk"), verified=True)
    unproven = User.objects.filter(~Exists(proven), date_joined__lt=now - older_than, is_staff=False, last_login=None)
    return unproven.delete()[1].get("authentication.User", 0)

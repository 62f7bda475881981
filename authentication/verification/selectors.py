"""Reads on codes and their mails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authentication.verification.models import MailState, Purpose, VerificationCode

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from authentication.core.models import User


def live_code(*, user: User, purpose: Purpose) -> VerificationCode | None:
    """Return the newest code of this purpose that was neither used nor replaced; it may have expired."""
    return VerificationCode.objects.filter(user=user, purpose=purpose, ended_at=None).first()


def mails_left_behind(*, due_before: datetime, now: datetime) -> QuerySet[VerificationCode]:
    """Return the codes whose mail should have been tried by ``due_before`` and still can be of use."""
    return VerificationCode.objects.filter(
        mail_state=MailState.WAITING, mail_due_at__lte=due_before, ended_at=None, expires_at__gt=now
    ).order_by("mail_due_at")

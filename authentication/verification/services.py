"""Issue and redeem codes. Each function is one transaction; nothing here waits for a mail or a broker.

No answer and no time taken tells whether an address is known: both ways do the same expensive thing, one password hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from authentication.core import selectors as accounts
from authentication.core import services as account_services
from authentication.verification import codes, selectors
from authentication.verification.enqueueing import enqueue_on_commit
from authentication.verification.models import Purpose, VerificationCode

if TYPE_CHECKING:
    from authentication.core.models import User


@dataclass(frozen=True, slots=True)
class CodeRules:
    """How long a code of one purpose lives, and how soon the next may be asked for."""

    lifetime: timedelta
    cool_down: timedelta = timedelta(seconds=60)


RULES: Final = {
    # Long enough for the whole retry schedule (17 minutes) and a slow reader.
    Purpose.VERIFY_EMAIL: CodeRules(lifetime=timedelta(minutes=60)),
    # Whoever reads this code owns the account; the last retry may come too late for it, on purpose.
    Purpose.RESET_PASSWORD: CodeRules(lifetime=timedelta(minutes=15)),
}
MAX_GUESSES: Final = 5
"""Wrong codes after which a code is dead and a new one must be mailed."""


@transaction.atomic
def register_customer(*, email: str, password: str) -> None:
    """Create the account if there is none, and mail a verification code unless the address is verified.

    Raises:
        ValidationError: the password is too weak.
    """
    user, _ = account_services.create_user(email=email, password=password)
    if user.is_active and user.email_verified_at is None:
        issue_code(user=user, purpose=Purpose.VERIFY_EMAIL)


@transaction.atomic
def request_password_reset(*, email: str) -> None:
    """Mail a reset code if there is an account of this address."""
    user = accounts.user_with_email(email)
    if user is not None:
        issue_code(user=user, purpose=Purpose.RESET_PASSWORD)


@transaction.atomic
def issue_code(*, user: User, purpose: Purpose) -> VerificationCode | None:
    """Replace the code that is out by a new one and enqueue its mail; None within the cool-down of the last one."""
    now = timezone.now()
    rules = RULES[purpose]
    # Two requests at once take turns here, so that one mail goes out and not two.
    type(user).objects.select_for_update().get(pk=user.pk)
    current = selectors.live_code(user=user, purpose=purpose)
    if current is not None:
        if now < current.created_at + rules.cool_down:
            return None
        _end(current)
    code = VerificationCode.objects.create(
        user=user, purpose=purpose, created_at=now, mail_due_at=now, expires_at=now + rules.lifetime
    )
    enqueue_on_commit(code)
    return code


def verify_email(*, email: str, code: str) -> bool:
    """Mark the address as verified if the code is the one that was mailed to it; a code works once."""
    user = accounts.user_with_email(email)
    if user is None or not redeem(user=user, purpose=Purpose.VERIFY_EMAIL, code=code):
        return False
    account_services.mark_email_verified(user=user)
    return True


@transaction.atomic
def reset_password(*, email: str, code: str, password: str) -> bool:
    """Set the password if the code is the one that was mailed; a code works once.

    Raises:
        ValidationError: the password is too weak. The code remains good.
    """
    user = accounts.user_with_email(email)
    if user is None or not redeem(user=user, purpose=Purpose.RESET_PASSWORD, code=code):
        return False
    account_services.change_password(user=user, password=password)
    account_services.mark_email_verified(user=user)
    return True


def redeem(*, user: User, purpose: Purpose, code: str) -> bool:
    """Use the code up. Each call is counted before it is looked at, so that guesses at the same time count too."""
    row = selectors.live_code(user=user, purpose=purpose)
    if row is None or not _count_guess(row):
        return False
    return codes.same_code(row.code, code) and _end(row)


def _count_guess(row: VerificationCode) -> bool:
    """Count one guess; False when the code is dead."""
    alive = VerificationCode.objects.filter(
        pk=row.pk, ended_at=None, expires_at__gt=timezone.now(), guesses__lt=MAX_GUESSES
    )
    return alive.update(guesses=F("guesses") + 1) == 1


def _end(row: VerificationCode) -> bool:
    """Let the code be good no more; False if somebody else was faster."""
    return VerificationCode.objects.filter(pk=row.pk, ended_at=None).update(ended_at=timezone.now()) == 1

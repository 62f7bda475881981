"""Begin and settle attempts to hand a mail over: two short transactions, the network between them.

``begin_attempt`` claims the row by one conditional UPDATE, which also pushes ``mail_due_at`` into the future: another
worker, a task delivered twice, or one that comes too early finds the mail not due and ends without sending. An attempt
that was begun and never settled (the worker was killed) becomes due again when its lease is over.
"""

from __future__ import annotations

import logging
import math
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db.models import F
from django.utils import timezone

from authentication.verification.models import MailState, Purpose, VerificationCode
from authentication.verification.schedule import mail_retries

if TYPE_CHECKING:
    from authentication.verification.outcomes import MailOutcome

logger = logging.getLogger(__name__)

LEASE: Final = timedelta(minutes=10)
"""Longer than an attempt can take; the tasks' time limit is shorter."""

_dice = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class MailAttempt:
    """A claim on one attempt; ``number`` counts from 1."""

    code: VerificationCode
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What follows an attempt: ``retry_in`` seconds, or None when the mail's state is final."""

    state: MailState
    retry_in: float | None


def begin_attempt(*, code_id: int, purpose: Purpose) -> MailAttempt | None:
    """Claim the next attempt, or return None: not due, not waiting, no longer of use, or no such code."""
    now = timezone.now()
    attempts = 1 + len(mail_retries().delays)
    claimed = VerificationCode.objects.filter(
        pk=code_id,
        purpose=purpose,
        mail_state=MailState.WAITING,
        mail_due_at__lte=now,
        mail_attempts__lt=attempts,
        ended_at=None,
        expires_at__gt=now,
        user__is_active=True,
    ).update(mail_attempts=F("mail_attempts") + 1, mail_due_at=now + LEASE)
    if not claimed:
        return None
    code = VerificationCode.objects.select_related("user").get(pk=code_id)
    return MailAttempt(code, code.mail_attempts, attempts)


def settle_attempt(*, attempt: MailAttempt, outcome: MailOutcome) -> Settled:
    """Store what the attempt came to and when the next one is due.

    Only the attempt that holds the claim is stored: if a lease ran out and another attempt began, that one settles.
    """
    doubt = attempt.code.mail_may_have_arrived or outcome.status == "in-doubt"
    delay = mail_retries().delay(attempt.number - 1, _dice) if outcome.may_be_retried else None
    countdown = None if delay is None else math.ceil(delay * 10) / 10
    settled = Settled(_state(outcome, doubt=doubt, again=countdown is not None), countdown)
    due_at = timezone.now() + timedelta(seconds=countdown or 0)
    VerificationCode.objects.filter(pk=attempt.code.pk, mail_attempts=attempt.number).update(
        mail_state=settled.state, mail_due_at=due_at, mail_may_have_arrived=doubt
    )
    if countdown is not None:
        logger.info(
            "E-mail attempt %d/%d for %s is due in %.1f s",
            attempt.number + 1,
            attempt.of,
            attempt.code,
            countdown,
            extra={"attempt": attempt.number, "retry_in": countdown, "code_id": attempt.code.pk},
        )
    return settled


def _state(outcome: MailOutcome, *, doubt: bool, again: bool) -> MailState:
    if outcome.status == "success":
        return MailState.ACCEPTED
    if again:
        return MailState.WAITING
    if doubt:
        return MailState.IN_DOUBT
    return MailState.GIVEN_UP if outcome.may_be_retried else MailState.REFUSED

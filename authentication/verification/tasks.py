"""The two mail tasks and the sweep: adapters between Celery and ``handover.py``, with no rule of their own.

A task carries the number of a code and nothing else. It is acknowledged after it ran, so a killed worker loses no mail,
and the claim in ``begin_attempt`` makes a second delivery harmless. ``self.retry`` is the timer of the schedule in
``schedule.py`` and makes Celery's log read as people expect; if that wake-up is lost, the sweep finds the row.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from celery import shared_task
from django.utils import timezone

from authentication.verification import handover, selectors
from authentication.verification.emails import send_code_email
from authentication.verification.enqueueing import TASK_NAMES, enqueue
from authentication.verification.models import Purpose
from authentication.verification.schedule import MAIL_RETRIES

if TYPE_CHECKING:
    from celery import Task


class MailNotAccepted(Exception):
    """The relay did not accept the mail in this attempt; the text holds no address and no secret."""


MAIL_TASK: Final[dict[str, Any]] = {
    "bind": True,
    "acks_late": True,
    "reject_on_worker_lost": True,
    "max_retries": len(MAIL_RETRIES.delays),
    "time_limit": 540,  # seconds; below handover.LEASE, so that no attempt outlives its claim
    "throws": (MailNotAccepted,),
}
SWEEP_AFTER: Final = timedelta(seconds=30)
"""How long after its time a mail counts as left behind: its task may be on its way."""
SWEEP_EXPIRES: Final = 60.0
"""Seconds after which a swept task is worthless, because the next sweep has come."""


@shared_task(name=TASK_NAMES[Purpose.VERIFY_EMAIL], **MAIL_TASK)
def send_verification_email(self: Task[Any, Any], code_id: int) -> dict[str, object]:
    """Hand over the mail with the code that proves an address."""
    return _hand_over(self, code_id, Purpose.VERIFY_EMAIL)


@shared_task(name=TASK_NAMES[Purpose.RESET_PASSWORD], **MAIL_TASK)
def send_password_reset_email(self: Task[Any, Any], code_id: int) -> dict[str, object]:
    """Hand over the mail with the code that lets a customer choose a new password."""
    return _hand_over(self, code_id, Purpose.RESET_PASSWORD)


@shared_task(name="authentication.verification.sweep")
def sweep() -> dict[str, object]:
    """Enqueue the mails whose wake-up was lost: broker down, worker killed, queue wiped."""
    now = timezone.now()
    left_behind = list(selectors.mails_left_behind(due_before=now - SWEEP_AFTER, now=now)[:1000])
    for code in left_behind:
        enqueue(code, expires=SWEEP_EXPIRES)
    return {"status": "success", "enqueued": len(left_behind)}


def _hand_over(task: Task[Any, Any], code_id: int, purpose: Purpose) -> dict[str, object]:
    """Make one attempt; returns when the relay accepted or there was nothing to do, raises otherwise."""
    attempt = handover.begin_attempt(code_id=code_id, purpose=purpose)
    if attempt is None:
        return {"status": "skipped", "code_id": code_id}
    outcome = send_code_email(code=attempt.code, attempt=attempt.number, attempts=attempt.of)
    settled = handover.settle_attempt(attempt=attempt, outcome=outcome)
    if outcome.status == "success":
        return {"status": "success", "message_id": outcome.message_id, "attempt": attempt.number}
    error = MailNotAccepted(f"{outcome.status}: {outcome.detail}")
    if settled.retry_in is None:
        raise error
    raise task.retry(exc=error, countdown=settled.retry_in)

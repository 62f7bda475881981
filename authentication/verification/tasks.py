"""The two mail tasks, the sweep and the purge: adapters between Celery and the outbox, with no rule of their own.

A task carries the key of a mail and nothing else. It is acknowledged after it ran, so a killed worker loses no mail,
and the outbox's claim makes a second delivery harmless. The row says when the next attempt is; ``self.retry`` is its
timer and makes Celery's log read as people expect. If that is lost, or used up in a long outage, the sweep finds the
row.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from authentication.core import services as accounts
from authentication.verification.kinds import SEND_PASSWORD_RESET, SEND_VERIFICATION
from authentication.verification.wakeup import FEW, AccountsWakeUp
from robust_email.outbox import dispatch, selectors
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.services import sweeping
from robust_email.outbox.states import State
from robust_email.smtp import error_for
from robust_email.suppression import retention

if TYPE_CHECKING:
    from celery import Task


class MailNotAccepted(Exception):
    """The relay did not accept the mail in this attempt; the text holds no address and no secret."""


MAIL_TASK: Final[dict[str, Any]] = {
    "bind": True,
    "acks_late": True,
    "reject_on_worker_lost": True,
    "max_retries": len(settings.EMAIL_OUTBOX_RETRY_SCHEDULE),
    "throws": (MailNotAccepted,),
}


@shared_task(name=SEND_VERIFICATION, **MAIL_TASK)
def send_verification_email(self: Task[Any, Any], pk: str) -> dict[str, object]:
    """Make one attempt at a mail with the code that proves an address."""
    return _hand_over(self, pk)


@shared_task(name=SEND_PASSWORD_RESET, **MAIL_TASK)
def send_password_reset_email(self: Task[Any, Any], pk: str) -> dict[str, object]:
    """Make one attempt at a mail with the code that lets a customer choose a new password."""
    return _hand_over(self, pk)


def _hand_over(task: Task[Any, Any], pk: str) -> dict[str, object]:
    """Return when the relay accepted or there was nothing to do; raise otherwise."""
    outcome = dispatch.run_one(UUID(pk))
    if outcome is None:
        return {"status": "skipped", "message": pk}
    error = error_for(outcome.report) if outcome.report is not None else None
    if outcome.state is State.ACCEPTED and outcome.report is not None:
        return {"status": "success", "message_id": outcome.report.message_id, "message": pk}
    not_accepted = MailNotAccepted(f"{outcome.state.value}: {error or 'it cannot be submitted'}")
    if outcome.next_attempt_at is None:
        raise not_accepted
    wait = max(0.0, (outcome.next_attempt_at - timezone.now()).total_seconds())
    raise task.retry(exc=not_accepted, countdown=round(wait, 1))


@shared_task(name="authentication.verification.sweep")
def sweep() -> dict[str, object]:
    """Take back what dead workers held, and tell of mail whose wake-up was lost: broker down, queue wiped."""
    swept = sweeping.sweep()
    every = outbox_settings().sweep
    left_behind = selectors.left_behind(FEW + 1, seconds=0.0 if swept.total else every)
    AccountsWakeUp().notify(left_behind, expires=every)
    return {"status": "success", "swept": swept.total, "told": len(left_behind)}


@shared_task(name="authentication.verification.purge")
def purge() -> dict[str, object]:
    """Remove accounts whose address was never proven, and mails and suppressions that ended long enough ago."""
    return {
        "status": "success",
        "accounts": accounts.purge_unverified(),
        "mails": sum(sweeping.purge().values()),
        **asdict(retention.purge()),
    }

"""Tell a worker that a mail is waiting: a hint, and no more than that, since the row is the truth.

The task is named, not imported: whoever enqueues needs no worker code, and the tasks may import the services.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from celery import current_app
from django.db import transaction
from kombu.exceptions import ChannelError, OperationalError

from authentication.verification.models import Purpose

if TYPE_CHECKING:
    from authentication.verification.models import VerificationCode

logger = logging.getLogger(__name__)

TASK_NAMES: Final = {
    Purpose.VERIFY_EMAIL: "authentication.verification.send_verification_email",
    Purpose.RESET_PASSWORD: "authentication.verification.send_password_reset_email",
}


def enqueue_on_commit(code: VerificationCode) -> None:
    """Enqueue the mail once the row is there for the worker to read. A rollback leaves no mail."""
    transaction.on_commit(partial(enqueue, code))


def enqueue(code: VerificationCode, *, expires: float | None = None) -> None:
    """Send the code's number, and nothing else of it, to a worker.

    A broker that is down costs the customer nothing: the sweep finds the row. ``expires`` is in seconds.
    """
    name = TASK_NAMES[Purpose(code.purpose)]
    try:
        current_app.send_task(name, args=[code.pk], retries=code.mail_attempts, expires=expires, retry=False)
    except (OperationalError, ChannelError, OSError) as error:
        logger.warning("The broker took no task for %s (%s); the sweep will find its mail", code, type(error).__name__)

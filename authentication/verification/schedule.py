"""When a mail that was not accepted is tried again: the whole retry strategy of the two tasks, as data."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from django.conf import settings

from robust_email.smtp import Schedule

MAIL_RETRIES: Final = Schedule(delays=(60, 120, 240, 300, 300), jitter=0.25)
"""The first attempt is made at once, these seconds lie before the retries. Jitter adds up to a quarter to all but the
first, so that the mails of one outage don't come back at once and a customer who waits knows when to look."""


def mail_retries() -> Schedule:
    """Return the schedule, shortened by ``EMAIL_TASK_RETRY_SCALE`` where a demonstration or a test sets that."""
    return replace(MAIL_RETRIES, scale=settings.EMAIL_TASK_RETRY_SCALE)

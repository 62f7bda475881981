"""Suppression on Celery: the purge, once a day. Imports Celery, alone.

Add ``BEAT_SCHEDULE`` to the project's ``beat_schedule``, beside the outbox's; without beat, let cron run
``manage.py suppression_purge``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from celery import shared_task

from robust_email.suppression import retention

PURGE: Final = "robust_email.suppression.purge"

BEAT_SCHEDULE: Final[dict[str, dict[str, Any]]] = {"suppression: purge": {"task": PURGE, "schedule": 86_400.0}}


@shared_task(name=PURGE, ignore_result=True)
def purge() -> dict[str, object]:
    """Remove what is kept no longer."""
    return {"status": "success", **asdict(retention.purge())}

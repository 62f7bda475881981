"""``/healthz`` (this process answers) and ``/readyz`` (what it needs, in words that a stranger may read).

Only a database that is away makes ``/readyz`` answer 503. Broker and relay may be down: registrations are taken all the
same and their mails wait, so a load balancer must not send customers away for it; ``status`` says "degraded" then.
"""

from __future__ import annotations

from typing import Final

from celery import current_app
from django.db import Error as DbError
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from kombu.exceptions import KombuError

from robust_email.outbox.selectors import Health
from robust_email.outbox.selectors import health as outbox_health

BROKER_PATIENCE: Final = 1.0
"""Seconds for a look at the broker."""


@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """Answer."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """Look at database, broker, relay and the oldest mail that waits (``waiting_seconds``)."""
    try:
        connection.ensure_connection()
        outbox = outbox_health()
    except DbError:
        return JsonResponse({"status": "unavailable", "database": "down"}, status=503)
    found = {"database": "ok", "broker": _broker(), "relay": _relay(outbox), "mail": _mail(outbox)}
    words = "ok" if set(found.values()) == {"ok"} else "degraded"
    return JsonResponse({"status": words, **found, "waiting": outbox.queued, "waiting_seconds": round(outbox.oldest)})


def _broker() -> str:
    with current_app.connection_for_write(connect_timeout=BROKER_PATIENCE) as broker:
        failures: tuple[type[BaseException], ...] = (OSError, KombuError, *broker.connection_errors)
        try:
            broker.connect()
        except failures:
            return "down"
    return "ok"


def _relay(outbox: Health) -> str:
    """Return what the last mails found; nothing is sent to find out."""
    troubles = {relay.trouble for relay in outbox.relays if relay.trouble}
    return "misconfigured" if "misconfigured" in troubles else "down" if troubles else "ok"


def _mail(outbox: Health) -> str:
    return "late" if outbox.overdue > outbox.alert_age or outbox.lapsed else "ok"

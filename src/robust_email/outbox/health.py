"""A view for a load balancer or a monitor: 200 while mail gets through the outbox, 503 when a person should look.

::

    path("health/outbox/", robust_email.outbox.health.outbox_health)

It says what ``outbox_status`` and ``email_doctor`` say, from ``selectors.health``, and to strangers no more than codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import Error as DbError
from django.http import JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from robust_email.outbox import selectors
from robust_email.outbox.database import logger

if TYPE_CHECKING:
    from django.http import HttpRequest


@never_cache
@require_safe
def outbox_health(request: HttpRequest) -> JsonResponse:
    """Answer with ``{"status": "ok" | "failing", "problems": [codes]}``, and with all figures who may see mails."""
    try:
        health = selectors.health()
    except DbError as exc:
        logger.warning("The outbox's health cannot be told: %s", type(exc).__name__)
        return _answer(["unknown"])
    codes = sorted({problem.code for problem in health.problems})
    user = getattr(request, "user", None)
    may_see = user is not None and user.has_perm("robust_email_outbox.view_outboxmessage")
    return _answer(codes, **(health.as_dict() if may_see else {}))


def _answer(codes: list[str], **figures: Any) -> JsonResponse:  # noqa: ANN401 - as Health has them
    status = "failing" if codes else "ok"
    return JsonResponse({**figures, "status": status, "problems": codes}, status=503 if codes else 200)

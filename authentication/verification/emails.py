"""The mails to customers: how they look (``build_email``), and what the log says of each attempt at one of them."""

from __future__ import annotations

import logging
from email.utils import make_msgid, parseaddr
from typing import TYPE_CHECKING, Any, Final

import css_inline
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone, translation

from robust_email.outbox.states import State
from robust_email.smtp import Scope, error_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robust_email.outbox.models import OutboxMessage
    from robust_email.smtp import SubmissionReport

logger = logging.getLogger(__name__)

# What is not an inline style (the dark colours, behind a media query) stays in the head; nothing is fetched.
_inliner: Final = css_inline.CSSInliner(keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False)


def shop_name() -> str:
    """Return what customers call us: the name in ``DEFAULT_FROM_EMAIL``."""
    return parseaddr(settings.DEFAULT_FROM_EMAIL)[0] or "Shop"


def build_email(
    *, template: str, to: str, language: str, context: Mapping[str, Any] | None = None
) -> EmailMultiAlternatives:
    """Render ``<template>_subject.txt``, ``_message.txt`` and ``_message.html`` in the customer's language."""
    with translation.override(language or settings.LANGUAGE_CODE):
        values = {
            "shop": shop_name(),
            "language": translation.get_language(),
            "direction": "rtl" if translation.get_language_bidi() else "ltr",
            **(context or {}),
        }
        subject = " ".join(render_to_string(f"{template}_subject.txt", values).split())
        text = render_to_string(f"{template}_message.txt", values).strip() + "\n"
        html = _inliner.inline(render_to_string(f"{template}_message.html", values))
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    message = EmailMultiAlternatives(
        subject=subject,
        body=text,
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[to],
        headers={
            "Message-ID": make_msgid(domain=domain),
            "Auto-Submitted": "auto-generated",  # RFC 3834 5: no holiday reply to this
        },
    )
    message.attach_alternative(html, "text/html")
    return message


def log_attempt(*, message: OutboxMessage, report: SubmissionReport | None, **_: object) -> None:
    """Write one line per attempt: its number, what it came to, and whether another one follows.

    Listens to ``outbox.signals.settled``; ``message`` is the row as the attempt began, with its new state.
    """
    number = message.attempts + 1
    status = _status(message, report)
    words, level = _MEANINGS[status]
    detail = message.reason if report is None else _detail(report)
    due = message.next_attempt_at
    wait = None if due is None else max(0.0, (due - timezone.now()).total_seconds())
    logger.log(
        level,
        "E-mail attempt %d for %s mail %s: %s: %s%s",
        number,
        message.kind or "a",
        message.message_id,
        words,
        detail,
        "" if wait is None else f" (next attempt in {wait:.1f} s)",
        extra={
            "attempt": number,
            "status": status,
            "detail": detail,
            "phase": report.decisive.phase.value if report is not None else "",
            "message_id": message.message_id,
            "outbox_message": str(message.pk),
            "retry_in": wait,
        },
    )


def _detail(report: SubmissionReport) -> str:
    """Say what happened, with addresses masked: the error that the direct backend would have raised says it best."""
    error = error_for(report)
    return f"by {report.endpoint} in {report.seconds:.2f} s" if error is None else str(error)


def _status(message: OutboxMessage, report: SubmissionReport | None) -> str:
    if message.state in {State.ACCEPTED, State.PARTLY}:
        return "success"
    if report is None:
        return "refused"
    if report.decisive.scope is Scope.CONFIGURATION:
        return "misconfigured"
    return report.decisive.disposition.value


_MEANINGS: Final = {
    "success": ("accepted", logging.INFO),
    "deferred": ("transient failure, safe to try again", logging.WARNING),
    "in-doubt": ("in doubt, the server may have it", logging.WARNING),
    "refused": ("permanent failure, trying again cannot help", logging.ERROR),
    "misconfigured": ("configuration mistake, a person has to act", logging.CRITICAL),
}

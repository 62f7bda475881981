"""The mails with codes: how they look, and what the relay said about them.

``send_code_email`` makes one attempt and always returns an outcome; whether and when there is another is decided by
``handover.py``. The mail of one code is the same octets in each attempt (Message-ID, Date and boundary come from the
row), so that a receiver who gets it twice can see that it is one mail.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, dataclass
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from authentication.verification.models import Purpose
from authentication.verification.outcomes import MailOutcome, outcome_of

if TYPE_CHECKING:
    from authentication.verification.models import VerificationCode

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wording:
    """What differs between the mails: the subject and the templates, ``<template>.txt`` and ``<template>.html``."""

    subject: str
    template: str


WORDINGS: Final = {
    Purpose.VERIFY_EMAIL: Wording("Confirm your e-mail address", "verification/verify_email"),
    Purpose.RESET_PASSWORD: Wording("Choose a new password", "verification/reset_password"),
}


class CodeEmail(EmailMultiAlternatives):
    """A mail that serialises to the same octets every time: Django draws the MIME boundary at random."""

    boundary = ""

    def message(self, **kwargs: Any) -> Any:  # noqa: ANN401 - arguments and class differ between 5.2 and 6.0
        """Build the MIME tree as Django does, with a boundary that stays."""
        tree = super().message(**kwargs)
        tree.set_boundary(self.boundary)
        return tree


def send_code_email(*, code: VerificationCode, attempt: int, attempts: int) -> MailOutcome:
    """Make attempt number ``attempt`` (from 1, of ``attempts``) to hand the mail over, and log it.

    Never raises for what a relay or a network does.
    """
    message = build_code_email(code)
    outcome = outcome_of(message)
    _log(outcome, code=code, attempt=attempt, attempts=attempts)
    return outcome


def build_code_email(code: VerificationCode) -> CodeEmail:
    """Return the mail for a code, with text and HTML."""
    wording = WORDINGS[Purpose(code.purpose)]
    context = {
        "code": code.code,
        "expires_at": code.expires_at,
        "minutes": round((code.expires_at - code.created_at).total_seconds() / 60),
        "shop": parseaddr(settings.DEFAULT_FROM_EMAIL)[0] or "the shop",
    }
    identity = _identity(code)
    message = CodeEmail(
        subject=wording.subject,
        body=render_to_string(f"{wording.template}.txt", context),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[code.user.email],
        headers={
            "Message-ID": message_id_of(code),
            "Date": format_datetime(code.created_at),
            "Auto-Submitted": "auto-generated",  # RFC 3834 5: no holiday reply to this
        },
    )
    message.attach_alternative(render_to_string(f"{wording.template}.html", context), "text/html")
    message.boundary = f"=_{identity}"
    return message


def message_id_of(code: VerificationCode) -> str:
    """Return the Message-ID of the mail of this purpose, customer and code, the same in each attempt."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return f"<{code.purpose}.{_identity(code)}@{domain}>"


def _identity(code: VerificationCode) -> str:
    """Return a name for this code that tells nothing about it or its customer."""
    return hashlib.sha256(f"{code.purpose}:{code.user_id}:{code.nonce}".encode()).hexdigest()[:24]


def _log(outcome: MailOutcome, *, code: VerificationCode, attempt: int, attempts: int) -> None:
    """One line per attempt: the number of the attempt, what it came to, and whether another one makes sense."""
    level, words = _WORDS[outcome.status]
    logger.log(
        level,
        "E-mail attempt %d/%d for %s: %s: %s",
        attempt,
        attempts,
        code,
        words,
        outcome.detail,
        extra={**asdict(outcome), "attempt": attempt, "attempts": attempts, "code_id": code.pk},
    )


_WORDS: Final = {
    "success": (logging.INFO, "accepted"),
    "deferred": (logging.WARNING, "transient failure, safe to try again"),
    "in-doubt": (logging.WARNING, "in doubt, the server may have it"),
    "refused": (logging.ERROR, "permanent failure, trying again cannot help"),
    "misconfigured": (logging.CRITICAL, "configuration mistake, a person has to act"),
}

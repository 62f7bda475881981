"""What one attempt to hand a mail over came to, whichever Django mail backend is configured.

``RobustSMTPEmailBackend`` leaves a report on the message, with a verdict per recipient. Other backends (the brief's
rollback is Django's own) only raise or don't, and get the coarse verdict that this deserves: in particular a lost
connection is then in doubt, because they do not say whether the message had left.
"""

from __future__ import annotations

import logging
import smtplib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from robust_email.smtp import Disposition, RobustEmailError, Scope, SubmissionReport, error_for

if TYPE_CHECKING:
    from django.core.mail import EmailMessage

logger = logging.getLogger(__name__)

Status = Literal["success", "deferred", "in-doubt", "refused", "misconfigured"]


@dataclass(frozen=True, slots=True)
class MailOutcome:
    """One attempt's result. ``detail`` holds no address and no secret; ``phase`` is the library's word."""

    status: Status
    message_id: str
    detail: str
    phase: str = ""

    @property
    def may_be_retried(self) -> bool:
        """Whether the schedule applies: the server does not have the mail, or may have lost it.

        A mail in doubt is submitted again (policy ``resend``): the same octets under the same Message-ID, since a code
        that comes twice harms nobody and one that never comes loses a customer.
        """
        return self.status in {"deferred", "in-doubt"}


def outcome_of(message: EmailMessage) -> MailOutcome:
    """Hand the message over through the configured backend and say what it came to. It has one recipient."""
    message_id = message.extra_headers["Message-ID"]
    try:
        accepted = message.send()
    except (RobustEmailError, smtplib.SMTPException, OSError) as error:
        report = getattr(error, "report", None) or getattr(message, "smtp_report", None)
        if report is None:
            return MailOutcome(_coarse_status(error), message_id, _without_address(error))
        return _by_report(report, message_id)
    except ValueError:
        logger.exception("Message %s cannot be put on the wire", message_id)
        return MailOutcome("refused", message_id, "not a message that SMTP can carry")
    report = getattr(message, "smtp_report", None)
    if report is not None:
        return _by_report(report, message_id)
    return MailOutcome("success" if accepted else "refused", message_id, f"the backend reported {accepted} accepted")


def _by_report(report: SubmissionReport, message_id: str) -> MailOutcome:
    verdict = report.decisive
    error = error_for(report)
    detail = f"by {report.endpoint} in {report.seconds:.2f} s" if error is None else str(error)
    if verdict.scope is Scope.CONFIGURATION:
        return MailOutcome("misconfigured", message_id, detail, verdict.phase.value)
    return MailOutcome(_STATUS[verdict.disposition], message_id, detail, verdict.phase.value)


_STATUS: dict[Disposition, Status] = {
    Disposition.ACCEPTED: "success",
    Disposition.DEFERRED: "deferred",
    Disposition.IN_DOUBT: "in-doubt",
    Disposition.REFUSED: "refused",
}


def _coarse_status(error: Exception) -> Status:
    """Return what an exception alone can tell, by class and reply code, never by its text."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "misconfigured"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return _status_of_code(min(code for code, _ in error.recipients.values()))
    if isinstance(error, smtplib.SMTPResponseException):
        return _status_of_code(error.smtp_code)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "misconfigured"
    return "in-doubt" if isinstance(error, smtplib.SMTPServerDisconnected) else "deferred"


def _status_of_code(code: int) -> Status:
    return "refused" if code // 100 == 5 else "deferred"  # noqa: PLR2004 - RFC 5321 4.2.1


def _without_address(error: Exception) -> str:
    """Name the error by class and code: what other backends put into texts may be an address."""
    code = getattr(error, "smtp_code", None) or getattr(error, "errno", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__

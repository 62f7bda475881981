"""A verdict for a backend that gives no report: as much as its return value or exception says, and not more.

Such a backend has one word for all recipients, and of a lost connection it can't say whether the mail had been taken:
that is IN_DOUBT. Reasons say that they are coarse.
"""

from __future__ import annotations

import smtplib
import socket
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ImproperlyConfigured

from robust_email.smtp import Disposition, Phase, Reply, Scope, SubmissionReport, Verdict
from robust_email.smtp.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

COARSE: Final = "coarse verdict, this backend gives no report"

_A, _D, _R, _I = Disposition.ACCEPTED, Disposition.DEFERRED, Disposition.REFUSED, Disposition.IN_DOUBT
_PERMANENT: Final = 500
_HTTP_OURS: Final = frozenset({401, 402, 403, 404})
"""A key, an account or an address of the interface that is wrong: about us, not about the mail."""
_HTTP_AGAIN: Final = frozenset({408, 425, 429})


def coarse_report(
    recipients: Sequence[str], message_id: str, endpoint: str, seconds: float, outcome: object
) -> SubmissionReport:
    """Make the report; ``outcome`` is what ``send_messages()`` returned, or the exception that it raised."""
    if isinstance(outcome, smtplib.SMTPRecipientsRefused):
        verdicts = {to: _of_refusal(to, outcome) for to in recipients}
    else:
        verdict = _of_exception(outcome) if isinstance(outcome, Exception) else _of_count(outcome)
        verdicts = dict.fromkeys(recipients, verdict)
    cause = outcome if isinstance(outcome, BaseException) else None
    return SubmissionReport(message_id, endpoint, verdicts, seconds=seconds, cause=cause)


def _of_count(count: object) -> Verdict:
    if count is None or count:
        return _verdict(_A, Scope.TRANSACTION, f"the backend returned {_shown(count)} ({COARSE})", Phase.AWAIT_FINAL)
    return _verdict(_D, Scope.TRANSACTION, f"the backend returned 0: it took nothing ({COARSE})", Phase.DATA)


def _shown(count: object) -> str:
    return str(count) if isinstance(count, int) or count is None else type(count).__name__


def _of_refusal(to: str, error: smtplib.SMTPRecipientsRefused) -> Verdict:
    code, text = error.recipients.get(to, (450, b"refused with the others"))
    return _of_reply(Phase.RCPT, code, text, Scope.RECIPIENT)


def _of_exception(error: Exception) -> Verdict:
    text = f"{type(error).__name__}: {error} ({COARSE})"
    if isinstance(error, (smtplib.SMTPAuthenticationError, ImproperlyConfigured)):
        return _verdict(_R, Scope.CONFIGURATION, text, Phase.AUTH)
    if isinstance(error, (smtplib.SMTPConnectError, smtplib.SMTPHeloError, socket.gaierror, ConnectionRefusedError)):
        return _verdict(_D, Scope.ENDPOINT, text, Phase.CONNECT)
    if isinstance(error, smtplib.SMTPResponseException):
        return _of_reply(Phase.AWAIT_FINAL, error.smtp_code, error.smtp_error, Scope.TRANSACTION)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _of_status(status, text)
    if isinstance(error, OSError):  # smtplib's SMTPServerDisconnected among them
        return _verdict(_I, Scope.SESSION, text, Phase.AWAIT_FINAL)
    return _verdict(_R, Scope.TRANSACTION, text, Phase.MAIL)


def _of_status(status: int, text: str) -> Verdict:
    """Judge by an HTTP status (anymail's exceptions carry it)."""
    if status in _HTTP_OURS:
        return _verdict(_R, Scope.CONFIGURATION, text, Phase.AUTH)
    if status in _HTTP_AGAIN or status >= _PERMANENT:
        return _verdict(_D, Scope.TRANSACTION, text, Phase.DATA)
    return _verdict(_R, Scope.TRANSACTION, text, Phase.DATA)


def _of_reply(phase: Phase, code: int, text: bytes | str, scope: Scope) -> Verdict:
    octets = text.encode("utf-8", "replace") if isinstance(text, str) else text
    disposition = _R if code >= _PERMANENT else _D
    return Verdict(disposition, scope, phase, Reply(code, tuple(octets.split(b"\n"))))


def _verdict(disposition: Disposition, scope: Scope, text: str, phase: Phase) -> Verdict:
    return Verdict(disposition, scope, phase, failure=Failure(FailureKind.LOCAL, phase, text))

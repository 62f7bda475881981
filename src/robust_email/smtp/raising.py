"""From a report to the exception that a caller of Django's or smtplib's interface expects."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

from robust_email.smtp import errors
from robust_email.smtp.address import masked
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.outcome import Disposition, Scope, Verdict
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.smtp.protocol.replies import Reply
    from robust_email.smtp.report import SubmissionReport

_PHASE_WORDS = {
    Phase.POOL: "while waiting for a free session",
    Phase.RESOLVE: "while resolving the host name",
    Phase.CONNECT: "while connecting",
    Phase.TLS: "during the TLS handshake",
    Phase.GREETING: "while waiting for the greeting",
    Phase.EHLO: "at EHLO",
    Phase.STARTTLS: "at STARTTLS",
    Phase.AUTH: "at AUTH",
    Phase.RSET: "at RSET",
    Phase.MAIL: "at MAIL FROM",
    Phase.RCPT: "at RCPT TO",
    Phase.DATA: "at DATA",
    Phase.BODY: "while the message was being written",
    Phase.AWAIT_FINAL: "after the end of data",
}


_NO_SESSION: dict[FailureKind, tuple[type[errors.SMTPConnectionError], int]] = {
    FailureKind.NAME_UNKNOWN: (errors.NameResolutionFailed, socket.EAI_NONAME),
    FailureKind.RESOLVER_DOWN: (errors.NameResolutionFailed, socket.EAI_AGAIN),
    FailureKind.CONNECTION_REFUSED: (errors.ConnectionRefused, errno.ECONNREFUSED),
    FailureKind.UNREACHABLE: (errors.SMTPConnectionError, errno.EHOSTUNREACH),
    FailureKind.NO_CREDENTIALS: (errors.SMTPConnectionError, errno.EAGAIN),
    FailureKind.TIMEOUT: (errors.ConnectionTimedOut, errno.ETIMEDOUT),
    FailureKind.TLS: (errors.TlsFailed, ssl.SSLErrorNumber.SSL_ERROR_SSL),
    FailureKind.CERTIFICATE: (errors.TlsFailed, ssl.SSLErrorNumber.SSL_ERROR_SSL),
}
_UNUSABLE: dict[Phase, Callable[[int, str], errors.RobustEmailError]] = {
    Phase.CONNECT: errors.ProxyRefused,
    Phase.TLS: errors.TlsMaterialUnusable,
    Phase.STARTTLS: errors.TlsMaterialUnusable,
    Phase.MAIL: errors.SigningImpossible,
}
"""What of ours could not be used (``FailureKind.LOCAL``), by where it was needed."""


def error_for(report: SubmissionReport, *, partial: bool = False, sender: str = "") -> errors.RobustEmailError | None:
    """The exception for a report, or ``None`` if there is nothing to raise.

    In doubt is always raised. Where something was accepted, the rest is raised only if ``partial``
    (as ``PartlyAccepted``), since a caller who retries on any exception would reach the accepted twice.
    """
    verdict = report.decisive
    error: errors.RobustEmailError
    if report.in_doubt:
        error = errors.InDoubt(_in_doubt_text(report, verdict))
    elif report.accepted:
        if report.all_accepted or not partial:
            return None
        error = errors.PartlyAccepted(
            f"{report.endpoint} accepted {len(report.accepted)} of {len(report.verdicts)} recipients "
            f"({len(report.refused)} refused, {len(report.deferred)} deferred); {_reason(verdict, report.endpoint)}. "
            "Submit again to report.retryable only."
        )
    else:
        error = _nothing_accepted(report, verdict, sender)
    error.about(phase=verdict.phase, endpoint=report.endpoint, report=report)
    if report.cause is not None:
        error.__cause__ = report.cause
    return error


def opening_error(verdict: Verdict, endpoint: str, cause: BaseException | None = None) -> errors.RobustEmailError:
    """The exception for a session that could not be opened."""
    text = _sentence(verdict, endpoint)
    reply = verdict.reply
    error = _by_failure(verdict, text) if reply is None else _opening_refused(verdict, reply, text)
    error.about(phase=verdict.phase, endpoint=endpoint)
    error.__cause__ = cause
    return error


def _nothing_accepted(report: SubmissionReport, verdict: Verdict, sender: str) -> errors.RobustEmailError:
    if verdict.phase.opens_session:
        return opening_error(verdict, report.endpoint, report.cause)
    text = _sentence(verdict, report.endpoint)
    reply = verdict.reply
    if reply is None:
        return _by_failure(verdict, text)
    if verdict.scope is Scope.CONFIGURATION:
        return errors.ServerMisconfigured(reply.code, reply.message, text)
    if verdict.phase is Phase.RCPT:
        recipients = {
            to: (found.reply.code, found.reply.message)
            for to, found in report.verdicts.items()
            if found.reply is not None
        }
        count = len(report.verdicts)
        return errors.RecipientsRefused(recipients, text if count == 1 else f"All {count} recipients: {text}")
    if verdict.phase in {Phase.MAIL, Phase.RSET}:
        return errors.SenderRefused(reply.code, reply.message, sender, text)
    return errors.DataRefused(reply.code, reply.message, text)


def _opening_refused(verdict: Verdict, reply: Reply, text: str) -> errors.RobustEmailError:
    if verdict.scope is not Scope.CONFIGURATION:
        return errors.SessionRefused(reply.code, reply.message, text)
    kinds: dict[Phase, Callable[[int, bytes, str], errors.RobustEmailError]] = {
        Phase.EHLO: errors.GreetingNameRefused,
        Phase.AUTH: errors.AuthenticationRefused,
    }
    return kinds.get(verdict.phase, errors.ServerMisconfigured)(reply.code, reply.message, text)


def _by_failure(verdict: Verdict, text: str) -> errors.RobustEmailError:
    failure = verdict.failure
    if failure is None:  # a verdict always has a reply or a failure
        raise AssertionError("a verdict without reply and without failure")
    if verdict.scope is Scope.CONFIGURATION or failure.kind in {FailureKind.NOT_OFFERED, FailureKind.TOO_LARGE}:
        return _by_rule_of_ours(failure, text)
    if not failure.phase.opens_session:
        return errors.SessionLost(text)
    return _no_session(failure, text)


def _by_rule_of_ours(failure: Failure, text: str) -> errors.RobustEmailError:
    if failure.kind is FailureKind.TOO_LARGE:
        return errors.MessageTooLarge(552, b"5.3.4 Message size exceeds fixed limit", text)
    if failure.kind is FailureKind.LOCAL and failure.phase in _UNUSABLE:
        return _UNUSABLE[failure.phase](failure.errno or 0, text)
    kinds: dict[Phase, Callable[[str], errors.RobustEmailError]] = {
        Phase.STARTTLS: errors.TlsImpossible,
        Phase.AUTH: errors.AuthenticationImpossible,
    }
    return kinds.get(failure.phase, errors.ExtensionMissing)(text)


def _no_session(failure: Failure, text: str) -> errors.SMTPConnectionError:
    if failure.kind is FailureKind.THROTTLED:
        error = errors.HeldBack(errno.ETIMEDOUT, text)
        error.retry_after = failure.retry_after
        return error
    if failure.phase is Phase.POOL:
        return errors.PoolTimedOut(errno.ETIMEDOUT, text)
    kind, default_errno = _NO_SESSION.get(failure.kind, (None, 0))
    if kind is None:
        return errors.ConnectionBroken(text)
    return kind(failure.errno or default_errno, text)


def _in_doubt_text(report: SubmissionReport, verdict: Verdict) -> str:
    return (
        f"IN DOUBT: {report.endpoint} received the whole message and the session ended before its answer "
        f"({_reason(verdict, report.endpoint)}). "
        f"The server may have accepted it for {len(report.in_doubt)} recipient(s). "
        "This is not a refusal: submitting it again may deliver it twice. Look for Message-ID "
        f"{report.message_id or '(none)'} in the server's log."
    )


def _sentence(verdict: Verdict, endpoint: str) -> str:
    what = "refused" if verdict.disposition is Disposition.REFUSED else "deferred"
    if verdict.reply is not None:
        return f"{endpoint} {what} {_PHASE_WORDS[verdict.phase]}: {_reason(verdict, endpoint)}"
    return f"{endpoint}, {_PHASE_WORDS[verdict.phase]}: {_reason(verdict, endpoint)}"


def _reason(verdict: Verdict, endpoint: str) -> str:
    """Servers repeat addresses in their replies; the text of an error ends up in logs and on pages."""
    return masked(verdict.reason).removeprefix(f"{endpoint}: ")

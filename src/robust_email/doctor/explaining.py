"""From what went wrong to the code of its cause: by phase, kind and code; by words only where codes say nothing."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from robust_email.smtp.failure import FailureKind
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from robust_email.smtp.failure import Failure
    from robust_email.smtp.protocol.replies import Reply

_K, _P = FailureKind, Phase

_BY_PHASE: Final = {
    (_P.RESOLVE, _K.NAME_UNKNOWN): "name-unknown",
    (_P.RESOLVE, _K.RESOLVER_DOWN): "name-look-up-failed",
    (_P.RESOLVE, _K.TIMEOUT): "name-look-up-silent",
    (_P.CONNECT, _K.CONNECTION_REFUSED): "tcp-refused",
    (_P.CONNECT, _K.TIMEOUT): "tcp-filtered",
    (_P.CONNECT, _K.UNREACHABLE): "tcp-unreachable",
    (_P.CONNECT, _K.RESET): "tcp-broken",
    (_P.TLS, _K.TIMEOUT): "tls-silent",
    (_P.TLS, _K.CLOSED): "tls-closed",
    (_P.TLS, _K.RESET): "tls-closed",
    (_P.TLS, _K.LOCAL): "tls-files-unusable",
    (_P.TLS, _K.GARBAGE): "starttls-injected",
    (_P.STARTTLS, _K.GARBAGE): "starttls-injected",
    (_P.STARTTLS, _K.NOT_OFFERED): "starttls-missing",
    (_P.GREETING, _K.TIMEOUT): "greeting-silent",
    (_P.GREETING, _K.CLOSED): "greeting-closed",
    (_P.GREETING, _K.RESET): "greeting-closed",
    (_P.AUTH, _K.NOT_OFFERED): "auth-missing",
    (_P.AUTH, _K.CLEAR_TEXT): "auth-clear-text",
    (_P.AUTH, _K.LOCAL): "auth-credentials-unusable",
    (_P.AUTH, _K.NO_CREDENTIALS): "auth-no-credentials",
    (_P.AUTH, _K.GARBAGE): "auth-broken",
    (_P.MAIL, _K.NOT_OFFERED): "mail-unfit",
    (_P.MAIL, _K.TOO_LARGE): "size-refused",
    (_P.AWAIT_FINAL, _K.TIMEOUT): "mail-in-doubt",
    (_P.AWAIT_FINAL, _K.CLOSED): "mail-in-doubt",
    (_P.AWAIT_FINAL, _K.RESET): "mail-in-doubt",
    (_P.AWAIT_FINAL, _K.GARBAGE): "mail-in-doubt",
}
_ANYWHERE: Final = {
    _K.TIMEOUT: "reply-silent",
    _K.CLOSED: "connection-closed",
    _K.RESET: "connection-closed",
    _K.GARBAGE: "not-smtp",
    _K.TLS: "tls-failed",
    _K.CERTIFICATE: "certificate-refused",
}
_RESOLVER: Final = {
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME): "name-without-address",
    socket.EAI_NONAME: "name-unknown",
    socket.EAI_AGAIN: "name-try-again",
}

# OpenSSL's X509_V_ERR_* numbers; the stdlib has no names for them.
_CERTIFICATE: Final = {
    9: "certificate-not-yet-valid",
    10: "certificate-expired",
    18: "certificate-self-signed",
    19: "certificate-unknown-authority",
    20: "certificate-unknown-authority",
    21: "certificate-incomplete-chain",
    62: "certificate-wrong-host",
    64: "certificate-wrong-host",
}
_TLS: Final = {
    "UNSUPPORTED_PROTOCOL": "tls-too-old",
    "TLSV1_ALERT_PROTOCOL_VERSION": "tls-too-old",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "tls-no-common-cipher",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "tls-client-certificate-required",
    "TLSV1_ALERT_UNKNOWN_CA": "tls-client-certificate-required",
    "WRONG_VERSION_NUMBER": "port-speaks-plain",
    "RECORD_LAYER_FAILURE": "port-speaks-plain",
    "HTTP_REQUEST": "port-speaks-http",
}


def cause_of_failure(failure: Failure, error: BaseException | None) -> str:
    """The code for a failure without a reply; ``error`` is the socket's or OpenSSL's own, where there is one."""
    if failure.phase is Phase.RESOLVE and failure.errno in _RESOLVER:
        return _RESOLVER[failure.errno]
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(error.verify_code, "certificate-refused")
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "tls-closed" if failure.phase is Phase.TLS else "connection-closed"
    if isinstance(error, ssl.SSLError):
        return _TLS.get(getattr(error, "reason", None) or "", "tls-failed")
    return _BY_PHASE.get((failure.phase, failure.kind)) or _ANYWHERE.get(failure.kind, "connection-closed")


_SERVICE_CLOSING: Final = 421
_LOGIN_REQUIRED: Final = 530
_NO_ROOM: Final = 452
_TOO_LARGE: Final = 552
_POLICY: Final = 7
"""The subject of an enhanced status code (RFC 3463 3.8)."""
_ADDRESSING, _MAILBOX = 1, 2


def cause_of_reply(phase: Phase, reply: Reply) -> str:
    """The code for a reply that is a no."""
    if reply.code == _SERVICE_CLOSING:
        return "busy-421"
    if reply.code == _LOGIN_REQUIRED and phase in {Phase.MAIL, Phase.RCPT, Phase.AUTH, Phase.DATA}:
        return "tls-required" if "TLS" in reply.text.upper() else "login-required"
    return _REPLIES.get(phase, _content)(reply)


def _transient(reply: Reply) -> bool:
    return reply.code // 100 == 4  # noqa: PLR2004 - 4yz


def _greeting(reply: Reply) -> str:
    return "greeting-try-later" if _transient(reply) else "greeting-refused"


def _auth(reply: Reply) -> str:
    if _transient(reply):
        return "auth-try-later"
    text = reply.text.lower()
    if "5.7.139" in text or "smtpclientauthentication is disabled" in text:  # Microsoft 365
        return "auth-switched-off"
    if "5.7.9" in text or "application-specific" in text or "app password" in text:  # Google, Yahoo, iCloud
        return "auth-needs-app-password"
    return "auth-refused"


def _mail(reply: Reply) -> str:
    if reply.code == _NO_ROOM:
        return "server-full"
    if reply.code == _TOO_LARGE:
        return "size-refused"
    return "sender-deferred" if _transient(reply) else "sender-refused"


def _rcpt(reply: Reply) -> str:
    enhanced, text = reply.enhanced, reply.text.lower()
    subject = enhanced.subject if enhanced else None
    if "relay" in text:
        return "relay-denied"
    if subject == _MAILBOX and enhanced is not None and enhanced.detail == 2:  # noqa: PLR2004 - X.2.2, mailbox full
        return "mailbox-full"
    if "sender" in text and subject != _ADDRESSING:
        return "sender-deferred" if _transient(reply) else "sender-refused"
    if _transient(reply):
        return "server-full" if reply.code == _NO_ROOM else "greylisted"
    if subject == _POLICY:
        return "relay-denied"
    return "recipient-unknown" if subject == _ADDRESSING else "recipient-refused"


def _content(reply: Reply) -> str:
    if reply.code == _TOO_LARGE:
        return "size-refused"
    return "mail-deferred" if _transient(reply) else "mail-refused"


_REPLIES: Final[Mapping[Phase, Callable[[Reply], str]]] = {
    Phase.GREETING: _greeting,
    Phase.EHLO: lambda _reply: "ehlo-refused",
    Phase.STARTTLS: lambda _reply: "starttls-refused",
    Phase.AUTH: _auth,
    Phase.MAIL: _mail,
    Phase.RCPT: _rcpt,
}

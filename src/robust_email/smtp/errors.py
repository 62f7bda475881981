"""The one tree of errors that submitting a mail can raise.

Each leaf is at the same time the ``smtplib`` or ``OSError`` kind that existing code catches, with the
attributes that code reads (``smtp_code``, ``smtp_error`` in bytes, ``recipients``), and carries three more::

    RobustEmailError            phase, endpoint, report
    ├── SubmissionError         about this mail, this session or this relay now
    │   ├── SMTPConnectionError (OSError): no session could be had; nothing was submitted
    │   │   ├── NameResolutionFailed (socket.gaierror)
    │   │   ├── ConnectionRefused (ConnectionRefusedError)
    │   │   ├── ConnectionTimedOut (TimeoutError)
    │   │   ├── ConnectionBroken (smtplib.SMTPServerDisconnected)
    │   │   ├── TlsFailed (ssl.SSLError)
    │   │   ├── SessionRefused (smtplib.SMTPConnectError): a reply refused the session
    │   │   ├── PoolTimedOut (TimeoutError)
    │   │   └── HeldBack (TimeoutError): by a limit, a pause or an open breaker; nothing was tried
    │   ├── SessionLost (smtplib.SMTPServerDisconnected): before the end of data; safe to submit again
    │   ├── SenderRefused, RecipientsRefused, DataRefused, MessageTooLarge, ExtensionMissing
    │   ├── PartlyAccepted (smtplib.SMTPException)
    │   └── InDoubt (smtplib.SMTPException): the server may have the mail
    └── ConfigurationError      nobody should retry until a person acts
        ├── AuthenticationRefused (smtplib.SMTPAuthenticationError)
        ├── AuthenticationImpossible, TlsImpossible (smtplib.SMTPNotSupportedError)
        └── GreetingNameRefused (smtplib.SMTPHeloError)

No text carries a password, and addresses are masked; ``recipients`` alone holds them whole, since callers
decide by them.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robust_email.smtp.phases import Phase
    from robust_email.smtp.report import SubmissionReport


class RobustEmailError(Exception):
    """Base of the tree. ``str()`` says what happened, where, what the server said, what to do."""

    text: str = ""
    phase: Phase | None = None
    endpoint: str | None = None
    report: SubmissionReport | None = None

    def __str__(self) -> str:
        """The finding in words, whatever ``args`` the smtplib or ``OSError`` kind keeps."""
        return self.text or (str(self.args[-1]) if self.args else "")

    def about(self, *, phase: Phase, endpoint: str, report: SubmissionReport | None = None) -> RobustEmailError:
        """Say where this happened; returns ``self`` so that it can be raised in one line."""
        self.phase, self.endpoint, self.report = phase, endpoint, report
        return self


class _ByReply(RobustEmailError):
    """Shared by the kinds of ``smtplib.SMTPResponseException``: ``smtp_code`` and ``smtp_error`` (bytes)."""

    def __init__(self, code: int, message: bytes, text: str) -> None:
        """``code`` and ``message`` are the reply's, as ``smtplib`` gives them; ``text`` is for people."""
        super().__init__(code, message)
        self.text = text


class SubmissionError(RobustEmailError):
    """About this mail, this session or this relay now; the report holds a verdict per recipient."""


class SMTPConnectionError(SubmissionError, OSError):
    """No session could be had. The server has nothing of the mail."""


class NameResolutionFailed(SMTPConnectionError, socket.gaierror):
    """The relay's name gave no address; ``errno`` is ``getaddrinfo``'s code (-2, -3, -5)."""


class ConnectionRefused(SMTPConnectionError, ConnectionRefusedError):
    """Nothing listens on the relay's port, or a firewall says so."""


class ConnectionTimedOut(SMTPConnectionError, TimeoutError):
    """DNS, TCP, TLS, greeting or EHLO took longer than the deadline."""


class ConnectionBroken(SMTPConnectionError, smtplib.SMTPServerDisconnected):
    """The peer closed or broke the connection before the session was ready."""


class TlsFailed(SMTPConnectionError, ssl.SSLError):
    """The TLS handshake or the verification of the server's certificate failed."""


class SessionRefused(_ByReply, SMTPConnectionError, smtplib.SMTPConnectError):
    """A reply refused the session (greeting, EHLO, STARTTLS or AUTH, for now)."""


class PoolTimedOut(SMTPConnectionError, TimeoutError):
    """Every session of the pool stayed leased for ``EMAIL_POOL_TIMEOUT``."""


class HeldBack(SMTPConnectionError, TimeoutError):
    """A limit, a pause that the relay asked for, or an open breaker: nothing was tried.

    ``retry_after`` (seconds) says when it is worth trying again, where that is known.
    """

    retry_after: float | None = None


class SessionLost(SubmissionError, smtplib.SMTPServerDisconnected):
    """The session ended before the end of data had left: submitting again is safe."""


class SenderRefused(SubmissionError, smtplib.SMTPSenderRefused):
    """MAIL was refused, for now (4yz) or for good (5yz)."""

    def __init__(self, code: int, message: bytes, sender: str, text: str) -> None:
        """As ``SMTPSenderRefused``, and ``text`` for people."""
        smtplib.SMTPSenderRefused.__init__(self, code, message, sender)
        self.text = text


class DataRefused(_ByReply, SubmissionError, smtplib.SMTPDataError):
    """The message was refused at DATA or after it, for now (4yz) or for good (5yz)."""


class MessageTooLarge(DataRefused):
    """Larger than the SIZE the server announced (RFC 1870 6.1); the body never left."""


class RecipientsRefused(SubmissionError, smtplib.SMTPRecipientsRefused):
    """Every recipient was refused; ``recipients`` maps address to ``(code, message)``."""

    def __init__(self, recipients: Mapping[str, tuple[int, bytes]], text: str) -> None:
        """As ``SMTPRecipientsRefused``, and ``text`` for people."""
        smtplib.SMTPRecipientsRefused.__init__(self, dict(recipients))
        self.text = text


class ExtensionMissing(SubmissionError, smtplib.SMTPNotSupportedError):
    """The mail needs 8BITMIME or SMTPUTF8 and the server offers neither a way nor a downgrade."""


class PartlyAccepted(SubmissionError, smtplib.SMTPException):
    """Some recipients were accepted and some were not; raised only when asked for.

    Submitting the same mail again would reach the accepted ones twice: use ``report.retryable``.
    """


class InDoubt(SubmissionError, smtplib.SMTPException):
    """The session ended after the end of data and before the reply: the server may have the mail.

    Not a failure, and deliberately not an ``SMTPServerDisconnected``: code that reconnects and
    submits again on that would double the mail.
    """


class ConfigurationError(RobustEmailError):
    """A mistake that repeating cannot mend: nobody retries until a person acts."""


class AuthenticationRefused(_ByReply, ConfigurationError, smtplib.SMTPAuthenticationError):
    """The server refused the credentials (535 and its kin)."""


class AuthenticationImpossible(ConfigurationError, smtplib.SMTPNotSupportedError):
    """No AUTH, no mechanism in common, or only over a clear channel; or there are no credentials to log in with."""


class TlsImpossible(ConfigurationError, smtplib.SMTPNotSupportedError):
    """TLS is required and the server does not offer it; nothing goes in clear instead."""


class TlsMaterialUnusable(ConfigurationError, OSError):
    """A certificate or key file of ours is missing or cannot be read."""


class ProxyRefused(ConfigurationError, OSError):
    """The proxy in ``EMAIL_PROXY`` does not let us through: wrong credentials for it, or a rule of its own."""


class SigningImpossible(ConfigurationError, OSError):
    """The mail should be signed (DKIM) and cannot be; it does not go unsigned instead."""


class GreetingNameRefused(_ByReply, ConfigurationError, smtplib.SMTPHeloError):
    """The server refused our EHLO name; set ``EMAIL_LOCAL_HOSTNAME``."""


class ServerMisconfigured(_ByReply, ConfigurationError, smtplib.SMTPResponseException):
    """A reply that says the set-up is wrong: 530 (log in, or encrypt, first), 503 (wrong order)."""

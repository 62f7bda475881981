"""The engine: one mail handed over to an SMTP server, with a true verdict for every recipient.

Knows no Django and no Celery. Start reading at ``submission.SubmissionClient.submit``::

    client = SubmissionClient(SmtpConfig(host="mail.example.org", port=587, tls=TlsPolicy(TlsMode.STARTTLS)))
    report = client.submit(Envelope.of("shop@example.org", ["ann@example.org"]), MailData.from_bytes(octets))
    report.accepted
"""

from __future__ import annotations

from robust_email.smtp.address import InvalidAddress
from robust_email.smtp.batch import BeforeFinal, Submission
from robust_email.smtp.config import (
    Credentials,
    DnsPolicy,
    OpeningRetry,
    PoolLimits,
    SmtpConfig,
    Timeouts,
    TlsMode,
    TlsPolicy,
    WirePolicy,
)
from robust_email.smtp.credentials import CredentialsProvider, CredentialsUnavailable
from robust_email.smtp.envelope import DeliveryStatusOptions, Envelope
from robust_email.smtp.errors import (
    AuthenticationImpossible,
    AuthenticationRefused,
    ConfigurationError,
    ConnectionBroken,
    ConnectionRefused,
    ConnectionTimedOut,
    DataRefused,
    ExtensionMissing,
    GreetingNameRefused,
    InDoubt,
    MessageTooLarge,
    NameResolutionFailed,
    PartlyAccepted,
    PoolTimedOut,
    ProxyRefused,
    RecipientsRefused,
    RobustEmailError,
    SenderRefused,
    ServerMisconfigured,
    SessionLost,
    SessionRefused,
    SigningImpossible,
    SMTPConnectionError,
    SubmissionError,
    TlsFailed,
    TlsImpossible,
    TlsMaterialUnusable,
)
from robust_email.smtp.maildata import HeaderInjection, MailData
from robust_email.smtp.net.connector import Connector
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.tls import context_for, new_tls_context
from robust_email.smtp.outcome import Disposition, Scope, Verdict
from robust_email.smtp.phases import Phase
from robust_email.smtp.pool import PoolStats
from robust_email.smtp.protocol.replies import EnhancedStatusCode, Reply
from robust_email.smtp.proxy import Proxy, ProxyKind
from robust_email.smtp.raising import error_for
from robust_email.smtp.report import AttemptRecord, SubmissionReport
from robust_email.smtp.retry import RetryDecision, Schedule
from robust_email.smtp.signing import Signer, SigningFailed
from robust_email.smtp.submission import SubmissionClient

__all__ = [
    "AttemptRecord",
    "AuthenticationImpossible",
    "AuthenticationRefused",
    "BeforeFinal",
    "ConfigurationError",
    "ConnectionBroken",
    "ConnectionRefused",
    "ConnectionTimedOut",
    "Connector",
    "Credentials",
    "CredentialsProvider",
    "CredentialsUnavailable",
    "DataRefused",
    "Deadline",
    "DeliveryStatusOptions",
    "Disposition",
    "DnsPolicy",
    "EnhancedStatusCode",
    "Envelope",
    "ExtensionMissing",
    "GreetingNameRefused",
    "HeaderInjection",
    "InDoubt",
    "InvalidAddress",
    "MailData",
    "MessageTooLarge",
    "NameResolutionFailed",
    "OpeningRetry",
    "PartlyAccepted",
    "Phase",
    "PoolLimits",
    "PoolStats",
    "PoolTimedOut",
    "Proxy",
    "ProxyKind",
    "ProxyRefused",
    "RecipientsRefused",
    "Reply",
    "RetryDecision",
    "RobustEmailError",
    "SMTPConnectionError",
    "Schedule",
    "Scope",
    "SenderRefused",
    "ServerMisconfigured",
    "SessionLost",
    "SessionRefused",
    "Signer",
    "SigningFailed",
    "SigningImpossible",
    "SmtpConfig",
    "Submission",
    "SubmissionClient",
    "SubmissionError",
    "SubmissionReport",
    "Timeouts",
    "TlsFailed",
    "TlsImpossible",
    "TlsMaterialUnusable",
    "TlsMode",
    "TlsPolicy",
    "Verdict",
    "WirePolicy",
    "context_for",
    "error_for",
    "new_tls_context",
]

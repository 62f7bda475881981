"""What a scripted server is: its extensions, accounts, limits, habits and faults, as one frozen :class:`Script`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from robust_email.testing.faults import Fault

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER")


@dataclass(frozen=True, kw_only=True, slots=True)
class Extensions:
    """What EHLO offers. What is not offered is not understood either: BDAT without CHUNKING is a 500."""

    size: int | None = 10_240_000
    """SIZE (RFC 1870): the largest message in octets; ``None`` doesn't offer it."""
    pipelining: bool = True
    chunking: bool = True
    eight_bit_mime: bool = True
    smtputf8: bool = True
    enhanced_status_codes: bool = True
    """Off: the enhanced codes disappear from the server's own replies too."""
    dsn: bool = True
    limits: bool = False
    """LIMITS (RFC 9422), made of :class:`Limits`."""
    auth: Sequence[str] = MECHANISMS
    """Offered where there are accounts; over TLS only, where TLS is to be had."""
    extra: Sequence[str] = ()
    """Further EHLO lines, as they are."""

    @classmethod
    def none(cls) -> Extensions:
        """Return a server that offers nothing, as in 1995 or as OpenSMTPD nearly does."""
        return cls(
            size=None,
            pipelining=False,
            chunking=False,
            eight_bit_mime=False,
            smtputf8=False,
            enhanced_status_codes=False,
            dsn=False,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a session may ask for. ``None``: no limit."""

    messages: int | None = None
    """Messages per connection; MAIL for one more gets ``messages_reply``."""
    messages_reply: str = "452 4.5.3 Too many messages in this session"
    """OpenSMTPD's 452; a 421 closes the connection, as on many providers."""
    recipients: int | None = None
    """Recipients per transaction; one more gets 452 (RFC 5321 4.5.3.1.10)."""
    nonmail: int | None = None
    """RSET, NOOP, VRFY and HELP per connection beyond one for each message taken; one more gets 554 and
    the end, as on Exim."""
    idle: float | None = None
    """Seconds without a command before ``421 4.4.2`` and the end."""


class EndOfData(enum.Enum):
    """Which marks end the content after DATA; see ``wire.py``."""

    STRICT = "strict"
    LENIENT = "lenient"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quirks:
    """Habits of real servers that a client has to live with."""

    end_of_data: EndOfData = EndOfData.STRICT
    refuse_pipelining: bool = False
    """OpenSMTPD: ``500 5.5.1`` and the end when a command comes before the reply to the one before it."""
    check_synchronisation: bool = True
    """Exim, strict Postfix: 554 and the end when input follows EHLO, STARTTLS, AUTH, DATA, NOOP... (RFC 2920 3.1)."""
    refuse_behind_final_dot: bool = False
    """Haraka: 503 to each command that arrived together with the end of data."""
    keep_transaction_after_failed_bdat: bool = False
    """Exim: a BDAT refused for want of recipients leaves MAIL and RCPT as they are (RFC 3030 has them dropped)."""
    refuse_bare_newline: bool = False
    """Postfix's ``smtpd_forbid_bare_newline``: 550 for content with a bare CR or LF."""
    refuse_undeclared_8bit: bool = False
    """554 for content with octets above 127 after a MAIL without ``BODY=8BITMIME`` or ``SMTPUTF8``."""
    accept_data_without_recipients: bool = False
    """354 to DATA though no recipient was accepted, which RFC 2920 allows; the lone dot gets 554."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """A whole server as data. ``Script()`` is a correct, strict one in clear text without accounts."""

    faults: Sequence[Fault] = ()
    extensions: Extensions = Extensions()
    accounts: Mapping[str, str] = field(default_factory=dict, repr=False)
    """User name to password; for XOAUTH2 and OAUTHBEARER the password is the access token."""
    limits: Limits = Limits()
    quirks: Quirks = Quirks()
    starttls: ssl.SSLContext | None = None
    """Offer STARTTLS with this server-side context."""
    implicit_tls: ssl.SSLContext | None = None
    """TLS from the first octet, as on port 465."""
    require_auth: bool = False
    """530 to MAIL before AUTH."""
    auth_in_clear: bool = False
    """Offer AUTH over a clear channel though the server has TLS."""
    host_name: str = "scripted.test"

    def __post_init__(self) -> None:
        """Refuse what no server can be: :exc:`ValueError`."""
        if self.starttls and self.implicit_tls:
            raise ValueError("a port has STARTTLS or implicit TLS, not both")
        unknown = set(self.extensions.auth) - set(MECHANISMS)
        if unknown:
            raise ValueError(f"no such SASL mechanism here: {', '.join(sorted(unknown))}")

    def offers_auth(self, *, encrypted: bool) -> bool:
        """Tell whether AUTH is offered on this channel."""
        if not self.accounts or not self.extensions.auth:
            return False
        return encrypted or self.auth_in_clear or self.starttls is None

"""All that the engine may be told, as one frozen value.

A ``SmtpConfig`` is passed whole and is hashable: two equal configurations share one session pool.
Secrets do not show in ``repr``. Durations are seconds, sizes are octets.
"""

from __future__ import annotations

import enum
import ipaddress
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robust_email.smtp.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

    from robust_email.smtp.credentials import CredentialsProvider
    from robust_email.smtp.proxy import Proxy
    from robust_email.smtp.signing import Signer


MAX_PORT = 65_535


class TlsMode(enum.Enum):
    """How the session is encrypted. There is no opportunistic mode: it protects from nobody."""

    NONE = "none"
    STARTTLS = "starttls"
    """Required STARTTLS (RFC 3207), usually port 587."""
    IMPLICIT = "implicit"
    """TLS from the first octet (RFC 8314), usually port 465."""


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """TLS mode and what the verified ``SSLContext`` is built from. TLS 1.2 is the minimum."""

    mode: TlsMode = TlsMode.NONE
    cafile: str | None = None
    """PEM file of trusted authorities; ``None`` means the system's."""
    certfile: str | None = None
    """PEM file of the client certificate (and its key, unless ``keyfile`` is given)."""
    keyfile: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in. With ``access_token`` the mechanism is XOAUTH2 or OAUTHBEARER."""

    username: str
    password: str = field(default="", repr=False)
    access_token: str | None = field(default=None, repr=False)
    mechanisms: tuple[str, ...] = ()
    """SASL mechanisms allowed, best first; empty means every one that is safe on the channel."""
    provider: CredentialsProvider | None = field(default=None, repr=False)
    """Asked for the credentials whenever a session is opened, instead of the fields above."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``opening`` bounds DNS, TCP, TLS, greeting, EHLO and AUTH together."""

    opening: float = 30.0
    command: float = 30.0
    """For the reply to one command, however slowly its octets drip in."""
    block: float = 30.0
    """For the server to take 64 KiB of the message (RFC 5321 4.5.3.2.5)."""
    final_reply: float = 60.0
    """For the reply to the end of data; longer on purpose (RFC 5321 4.5.3.2.6)."""
    dns: float = 10.0

    @classmethod
    def uniform(cls, seconds: float, *, final_reply: float | None = None, dns: float | None = None) -> Timeouts:
        """One figure for each phase; the final reply gets twice as long unless given."""
        return cls(
            opening=seconds,
            command=seconds,
            block=seconds,
            final_reply=2 * seconds if final_reply is None else final_reply,
            dns=min(seconds, 10.0) if dns is None else dns,
        )


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many sessions one process keeps to one relay and account, and for how long."""

    size: int = 10
    wait: float = 60.0
    """Seconds to wait for a session when all are leased."""
    max_idle: float = 30.0
    """Seconds unused after which a session is not offered again; below the server's own limit."""
    max_age: float = 600.0
    """Seconds; each session gets up to a tenth less, so that they do not end together."""
    max_messages: int = 100
    """Transactions per session: OpenSMTPD answers 452 after 100."""
    max_refusals: int = 4
    """All-refused transactions in a row: servers count errors and close (Postfix 421, Exim 554)."""


@dataclass(frozen=True, slots=True)
class OpeningRetry:
    """How often a session is tried for, and how long to wait between (seconds)."""

    attempts: int = 3
    delay: float = 2.0
    max_delay: float = 30.0


@dataclass(frozen=True, slots=True)
class DnsPolicy:
    """Seconds that answers are trusted, and how long a last good one may bridge a dead resolver."""

    ttl: float = 60.0
    max_stale: float = 86_400.0


@dataclass(frozen=True, slots=True)
class WirePolicy:
    """What may be done with the server's extensions to save round trips."""

    pipelining: bool = True
    """``False`` serves the relay step by step, whatever it offers."""
    chunking: bool = True
    window: int = 1
    """Messages in flight per session in a batch. More is faster and widens what a lost session
    can leave in doubt; 1 keeps doubt to a single message."""
    window_octets: int = 262_144
    cautious_idle: float = 5.0
    """Seconds idle after which the envelope is answered before the body goes."""
    cautious_octets: int = 65_536
    cautious_recipients: int = 50


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """One relay and account, and how to treat it.

    Raises ``ConfigurationError`` for values that cannot work; nothing is looked up or opened.
    """

    host: str
    port: int = 25
    local_hostname: str | None = None
    """The EHLO name; ``None`` means this machine's, looked up without DNS."""
    source_address: str | None = None
    proxy: Proxy | None = None
    """Through which to connect; it looks up ``host`` itself."""
    tls: TlsPolicy = TlsPolicy()
    credentials: Credentials | None = None
    signer: Signer | None = None
    """Signs each message just before it goes, after every change (DKIM)."""
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    """A context of the caller's own instead of the one that ``tls`` describes; it must verify."""
    allow_clear_text_auth: bool = False
    """Let AUTH cross an unencrypted channel to a host that is not the loopback."""
    timeouts: Timeouts = Timeouts()
    pool: PoolLimits = PoolLimits()
    retry: OpeningRetry = OpeningRetry()
    dns: DnsPolicy = DnsPolicy()
    wire: WirePolicy = WirePolicy()

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        if not self.host or any(ch <= " " or ch == "\x7f" for ch in self.host):
            raise ConfigurationError("host must be a host name or an address, without spaces or control characters")
        if not 0 < self.port <= MAX_PORT:
            raise ConfigurationError(f"port must be between 1 and {MAX_PORT}, not {self.port}")
        name = self.local_hostname
        if name is not None and (not name or any(ch <= " " or ch > "~" for ch in name)):
            raise ConfigurationError("local_hostname must be printable ASCII without spaces")
        if self.source_address is not None and not _is_ip_address(self.source_address):
            raise ConfigurationError(
                "source_address must be an IP address of this machine; a name would need DNS first"
            )
        _require_positive(self.timeouts, "opening", "command", "block", "final_reply", "dns")
        _require_positive(self.pool, "size", "wait", "max_idle", "max_age", "max_messages", "max_refusals")
        _require_positive(self.retry, "attempts")
        _require_positive(self.wire, "window", "window_octets")
        if self.retry.delay < 0:
            raise ConfigurationError("retry.delay must not be negative")

    @property
    def endpoint(self) -> str:
        """``host:port``, as logs and errors name the relay."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _require_positive(part: object, *names: str) -> None:
    for name in names:
        value = getattr(part, name)
        if not value > 0 or math.isinf(value):
            raise ConfigurationError(f"{name} must be a positive finite number, not {value!r}")

"""What happened when no reply came to decide: the other half of every verdict's reason."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robust_email.smtp.phases import Phase


class FailureKind(enum.Enum):
    """Why no reply decided: the world outside the protocol, or a rule of our own."""

    NAME_UNKNOWN = "name-unknown"
    """The resolver answered that the name has no address (``gaierror`` -2, -5)."""
    RESOLVER_DOWN = "resolver-down"
    """The resolver did not answer, or said to come again (``gaierror`` -3)."""
    CONNECTION_REFUSED = "connection-refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    """The peer closed the connection in good order (EOF)."""
    RESET = "reset"
    """The connection broke (RST, broken pipe, a network error)."""
    TLS = "tls"
    """The handshake failed, for another reason than the certificate."""
    CERTIFICATE = "certificate"
    """The server's certificate did not pass verification."""
    GARBAGE = "garbage"
    """What came is no SMTP reply, is too long, or answers nothing that was asked."""
    NOT_OFFERED = "not-offered"
    """The server lacks an extension this mail or configuration needs."""
    TOO_LARGE = "too-large"
    """The message exceeds the SIZE that the server announced (RFC 1870)."""
    CLEAR_TEXT = "clear-text"
    """Credentials would have crossed the network unencrypted."""
    NO_CREDENTIALS = "no-credentials"
    """What gives the password or token could not give one now (a token server that does not answer)."""
    THROTTLED = "throttled"
    """Held back by a limit, a pause or an open breaker: nothing was tried, and no attempt is used up."""
    LOCAL = "local"
    """A file or setting of ours could not be used (a certificate that cannot be read)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure without a reply. ``text`` says what happened and what to do; it holds no secret."""

    kind: FailureKind
    phase: Phase
    text: str
    errno: int | None = None
    """The operating system's or ``getaddrinfo``'s code, where there is one."""
    retry_after: float | None = None
    """Seconds until trying again is worth while, where that is known."""


class SessionFailure(Exception):
    """Raised inside the engine by whatever touches the network; the session is not usable after it.

    ``submission`` turns it into the public tree (``errors``); its ``__cause__`` is the socket's error.
    """

    def __init__(self, failure: Failure) -> None:
        """Carry ``failure``; ``str()`` is its text."""
        super().__init__(failure.text)
        self.failure = failure

"""What a session may ask of a stream of octets, whoever is at the other end: a socket, or a script in a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt
    import ssl

    from robust_email.smtp.net.deadline import Deadline

Octets = bytes | bytearray | memoryview
Writable = Octets | Sequence[Octets]
"""What can be written: one buffer, or several that follow each other."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """What a look at an idle stream found, without a round trip."""

    alive: bool
    unsolicited: bytes = b""
    """What the server wrote without having been asked, usually the 421 that says why it left."""


class ByteStream(Protocol):
    """A connected stream that blocks only in ``wait`` and ``start_tls``, and there not past a deadline.

    Failures are plain ``OSError`` and its kinds; ``failures.failure_of`` puts them into words.
    """

    @property
    def peer(self) -> str:
        """``address:port`` of the other end, empty where it has none."""

    @property
    def peer_is_loopback(self) -> bool:
        """Whether the other end is this machine, so that no network carries what is written."""

    @property
    def own_address(self) -> str:
        """Our end's IP address as the socket knows it, without a port; empty where it has none."""

    @property
    def tls_version(self) -> str | None:
        """``TLSv1.3`` and the like, ``None`` in the clear."""

    @property
    def cipher(self) -> str | None:
        """OpenSSL's name of the cipher suite, ``None`` in the clear."""

    @property
    def certificate_not_after(self) -> dt.datetime | None:
        """When the server's certificate expires (UTC), ``None`` in the clear."""

    def write_some(self, data: Writable) -> int:
        """Hand octets to the kernel and return how many it took; 0 means it would block.

        When this raises, nothing of ``data`` was taken. What was offered and not taken must be offered again before
        anything else: OpenSSL may have begun to write the record.
        """

    def read_some(self, limit: int = 65_536) -> bytes | None:
        """Return at most ``limit`` octets that are here, ``None`` if there are none now, ``b""`` at the end of file."""

    def wait(self, read: bool, write: bool, deadline: Deadline) -> tuple[bool, bool]:  # noqa: FBT001 - a pair
        """Wait until one of what is asked for is worth trying; return which. ``TimeoutError`` at the deadline."""

    def start_tls(self, context: ssl.SSLContext, deadline: Deadline) -> None:
        """Negotiate TLS and verify the certificate against the host. ``TimeoutError`` at the deadline.

        After a dialogue in the clear, octets that are here already are an injection: ``PlaintextBeforeTls``. The
        caller looks into its own buffer in the same way. After any failure the stream can only be aborted.
        """

    def liveness(self) -> Liveness:
        """Look whether an idle stream is still open and silent, without a round trip; its octets are used up."""

    def quickack(self) -> None:
        """Acknowledge the next octets at once (Linux): servers that write replies in pieces wait for it (Nagle)."""

    def close(self) -> None:
        """Say goodbye over TLS (RFC 8446 6.1) without waiting for an answer, and close. Never raises.

        Not for a stream inherited over a fork: its close_notify would end the parent's session. ``abort`` it.
        """

    def abort(self) -> None:
        """Close the descriptor and write nothing. Never raises."""

"""What a scripted server saw and took: the independent account that a test compares the client's claims with.

Every entry is written before the reply that tells the client of it: a client that has its 250 finds its message here.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]*>)", re.IGNORECASE | re.MULTILINE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedMessage:
    """A message that the server took responsibility for, whether or not its reply reached the client."""

    reverse_path: str
    """Without the angle brackets; empty for the null reverse path."""
    forward_paths: tuple[str, ...]
    data: bytes = field(repr=False)
    """The content without dot-stuffing and end mark."""
    message_id: str
    """The ``Message-ID`` header with its angle brackets, or an empty string."""
    connection: int
    """The number of the connection it came on, from 1."""
    order: int
    """Its number among all that the server took, from 1."""
    parameters: Mapping[str, str]
    """ESMTP parameters of MAIL, keywords in upper case (RFC 5321 4.1.1.11)."""
    recipient_parameters: Mapping[str, Mapping[str, str]]
    """ESMTP parameters of RCPT by forward path."""
    encrypted: bool
    user: str | None
    """Who was authenticated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One connection so far."""

    connection: int
    received: bytes = field(repr=False)
    """All that the client wrote, as clear text where TLS was in use."""
    written: bytes = field(repr=False)
    """All that the server wrote, likewise."""
    commands: tuple[str, ...] = field(repr=False)
    """Command lines without CRLF. Content and SASL responses are not among them."""
    tls_version: str | None
    tls_error: str | None
    """Why the handshake failed, in the words of the TLS library."""
    user: str | None
    discarded: bytes = field(repr=False)
    """What the client sent in the clear behind STARTTLS; the server threw it away."""
    closed: bool

    @property
    def verbs(self) -> tuple[str, ...]:
        """The commands' first words, in upper case."""
        return tuple(line.split(" ", 1)[0].upper() for line in self.commands)


class ConnectionRecord:
    """The growing side of a :class:`Transcript`; belongs to one connection's thread."""

    def __init__(self, connection: int, ledger: Ledger) -> None:
        """Start an empty record."""
        self.connection = connection
        self._ledger = ledger
        self._received = bytearray()
        self._written = bytearray()
        self._discarded = bytearray()
        self._commands: list[str] = []
        self._tls_version: str | None = None
        self._tls_error: str | None = None
        self._closed = False
        self.user: str | None = None

    @property
    def encrypted(self) -> bool:
        """Whether TLS is in use."""
        return self._tls_version is not None

    def received(self, data: bytes) -> None:
        """Note octets from the client."""
        with self._ledger.changing():
            self._received += data

    def written(self, data: bytes) -> None:
        """Note octets to the client."""
        with self._ledger.changing():
            self._written += data

    def command(self, line: str) -> None:
        """Note a command line."""
        with self._ledger.changing():
            self._commands.append(line)

    def discarded(self, data: bytes) -> None:
        """Note clear text that came behind STARTTLS."""
        with self._ledger.changing():
            self._discarded += data

    def tls_started(self, version: str | None) -> None:
        """Note a handshake that succeeded."""
        with self._ledger.changing():
            self._tls_version = version or "unknown"

    def tls_failed(self, reason: str) -> None:
        """Note a handshake that failed."""
        with self._ledger.changing():
            self._tls_error = reason

    def authenticated(self, user: str) -> None:
        """Note who the client is."""
        with self._ledger.changing():
            self.user = user

    def closed(self) -> None:
        """Note the end of the connection."""
        with self._ledger.changing():
            self._closed = True

    def snapshot(self) -> Transcript:
        """Return the record as it stands; the caller holds the ledger's lock."""
        return Transcript(
            connection=self.connection,
            received=bytes(self._received),
            written=bytes(self._written),
            commands=tuple(self._commands),
            tls_version=self._tls_version,
            tls_error=self._tls_error,
            user=self.user,
            discarded=bytes(self._discarded),
            closed=self._closed,
        )


class Ledger:
    """All connections' records and all accepted messages, under one condition that every change notifies."""

    def __init__(self) -> None:
        """Start empty."""
        self._changed = threading.Condition()
        self._records: list[ConnectionRecord] = []
        self._accepted: list[AcceptedMessage] = []

    def changing(self) -> _Change:
        """Return a context in which to change something that waiters look at."""
        return _Change(self._changed)

    def open_record(self) -> ConnectionRecord:
        """Start the record of the next connection."""
        with self.changing():
            record = ConnectionRecord(len(self._records) + 1, self)
            self._records.append(record)
            return record

    def take(self, message: Callable[[int], AcceptedMessage]) -> AcceptedMessage:
        """Enter the message that ``message`` makes of its order, and return it."""
        with self.changing():
            taken = message(len(self._accepted) + 1)
            self._accepted.append(taken)
            return taken

    @property
    def accepted(self) -> list[AcceptedMessage]:
        """A copy of the accepted messages in order."""
        with self._changed:
            return list(self._accepted)

    @property
    def transcripts(self) -> list[Transcript]:
        """A picture of each connection so far, in order."""
        with self._changed:
            return [record.snapshot() for record in self._records]

    @property
    def connections(self) -> int:
        """How many connections were opened."""
        with self._changed:
            return len(self._records)

    @property
    def commands(self) -> Counter[str]:
        """How often each verb came, over all connections."""
        return Counter(verb for transcript in self.transcripts for verb in transcript.verbs)

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait at most ``timeout`` seconds until the predicate holds; it is asked again after each change."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not predicate():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True


class _Change:
    """Hold the ledger's lock, then wake whoever waits for something in it."""

    __slots__ = ("_condition",)

    def __init__(self, condition: threading.Condition) -> None:
        self._condition = condition

    def __enter__(self) -> None:
        self._condition.acquire()

    def __exit__(self, *_: object) -> None:
        self._condition.notify_all()
        self._condition.release()


def message_id_of(data: bytes) -> str:
    """Return the ``Message-ID`` of a message with its angle brackets, or an empty string."""
    header = _HEADER_END.split(data, maxsplit=1)[0]
    found = _MESSAGE_ID.search(header)
    return found[1].decode("utf-8", "backslashreplace") if found else ""

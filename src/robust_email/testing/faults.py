"""Faults as data: what a :class:`~robust_email.testing.ScriptedServer` does wrong, when, and how often.

A :class:`Fault` names a moment (:class:`At`), narrows it (to a connection, a transaction, a recipient) and gives
the action that takes the place of the server's own reply. Nothing here does I/O; ``acting.py`` performs the actions.
"""

from __future__ import annotations

import enum
import threading
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class At(enum.StrEnum):
    """A moment in the dialogue at which the server can misbehave."""

    GREETING = "GREETING"
    """In place of the 220 that opens the session."""
    EHLO = "EHLO"
    """In place of the reply to EHLO or HELO."""
    STARTTLS = "STARTTLS"
    """In place of the reply to STARTTLS."""
    TLS = "TLS"
    """In place of the TLS handshake, after STARTTLS or on a port with implicit TLS."""
    AUTH = "AUTH"
    """In place of the first reply to AUTH, whatever the credentials. Subject: the mechanism."""
    MAIL = "MAIL"
    """In place of the reply to MAIL. Subject: the reverse path."""
    RCPT = "RCPT"
    """In place of the reply to RCPT. Subject: the forward path."""
    DATA = "DATA"
    """In place of the 354."""
    BDAT = "BDAT"
    """In place of the reply to any BDAT, its octets read. The message is not taken."""
    BODY = "BODY"
    """While content is being read, once ``Fault.after`` octets of it are there (DATA or one BDAT chunk)."""
    BEFORE_FINAL = "BEFORE_FINAL"
    """The content is complete, the server has *not* taken the message yet."""
    FINAL = "FINAL"
    """The server *took* the message (it is in the ledger) and owes the final reply."""
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    IDLE = "IDLE"
    """Unasked, before a command is read outside a transaction, from the first EHLO on."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Say something else, or the usual thing in an unusual way.

    ``text``: the reply without its last CRLF, lines separated by newlines; ``None`` is the server's own reply.
    ``split``: offsets at which the octets are cut into separate TCP segments, ``gap`` seconds apart.
    ``delay``: seconds of silence before the first octet. ``close``: end the connection afterwards; ``None`` does so
    after a 421, as servers do. The server's state follows the code it said: a 250 at :attr:`At.RCPT` makes a recipient.
    """

    text: str | None = None
    _: KW_ONLY
    split: Sequence[int] = ()
    gap: float = 0.01
    delay: float = 0.0
    close: bool | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Say nothing and end the connection with a FIN."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Say nothing and end the connection with a RST."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing more until the client leaves or the server is closed; ``reading=False`` doesn't read on either."""

    reading: bool = True


@dataclass(frozen=True, slots=True)
class Drip:
    """Say the reply (``None``: the server's own) ``size`` octets at a time, ``interval`` seconds apart.

    ``endless`` repeats the text, so that a client without an overall deadline never gets away.
    """

    text: str | None = None
    interval: float = 0.05
    size: int = 1
    endless: bool = False


@dataclass(frozen=True, slots=True)
class Garbage:
    """Write these octets in place of the reply, as they are, and go on."""

    data: bytes = b"\x00\xff\xfe not SMTP \r\n"


@dataclass(frozen=True, slots=True)
class Flood:
    """Write this line over and over: a multiline reply that does not end. Without CRLF in it: a line that does not."""

    line: bytes = b"250-and another line of a reply that never ends\r\n"


@dataclass(frozen=True, slots=True)
class Inject:
    """Write octets in the clear right behind the server's own reply, in the same segment (after 220 STARTTLS, say)."""

    data: bytes = b"250-injected.test\r\n250-INJECTED\r\n250 AUTH PLAIN\r\n"


@dataclass(frozen=True, slots=True)
class Extra:
    """Say the server's own reply and then another that nobody asked for."""

    text: str = "250 2.0.0 nobody asked"


@dataclass(frozen=True, slots=True)
class TlsGarbage:
    """Answer the TLS handshake with octets that are not TLS, then end the connection."""

    data: bytes = b"this is not a TLS record\r\n"


@dataclass(frozen=True, slots=True)
class TakeThenClose:
    """At :attr:`At.FINAL`: the message is in the ledger, the client is left without a reply by a FIN."""


@dataclass(frozen=True, slots=True)
class TakeThenStall:
    """At :attr:`At.FINAL`: the message is in the ledger, the client waits for a reply that does not come."""


@dataclass(frozen=True, slots=True)
class CloseAfterBytes:
    """End the connection after ``count`` octets: of the reply; at :attr:`At.BODY` of the content read."""

    count: int


Action = (
    Reply
    | Close
    | Reset
    | Stall
    | Drip
    | Garbage
    | Flood
    | Inject
    | Extra
    | TlsGarbage
    | TakeThenClose
    | TakeThenStall
    | CloseAfterBytes
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    ``connection``: only on the server's connection of this number, from 1. ``message``: only in the transaction (MAIL)
    of this number on its connection, from 1; at :attr:`At.IDLE` how many there were so far. ``subject``: only
    where the path or mechanism contains it. ``skip``: let the first so many matches pass. ``times``: how often at most,
    ``None`` for always. ``after``: octets of content, at :attr:`At.BODY`. The first fault that matches is taken.
    """

    at: At
    action: Action
    _: KW_ONLY
    connection: int | None = None
    message: int | None = None
    subject: str = ""
    skip: int = 0
    times: int | None = None
    after: int = 0

    def __post_init__(self) -> None:
        """Refuse combinations that mean nothing: :exc:`ValueError`."""
        if isinstance(self.action, (TakeThenClose, TakeThenStall)) and self.at is not At.FINAL:
            raise ValueError(f"{type(self.action).__name__} belongs to At.FINAL, not to At.{self.at}")
        if isinstance(self.action, TlsGarbage) and self.at is not At.TLS:
            raise ValueError(f"TlsGarbage belongs to At.TLS, not to At.{self.at}")

    @property
    def threshold(self) -> int:
        """Octets of content that must have been read before a fault at :attr:`At.BODY` strikes."""
        return self.action.count if isinstance(self.action, CloseAfterBytes) else self.after

    def matches(self, occasion: Occasion) -> bool:
        """Tell whether this fault is meant for the occasion, its count aside."""
        return (
            self.at is occasion.at
            and self.connection in (None, occasion.connection)
            and self.message in (None, occasion.message)
            and self.subject in occasion.subject
            and (self.at is not At.BODY or occasion.octets >= self.threshold)
        )


@dataclass(frozen=True, slots=True)
class Occasion:
    """A moment that has come: where the server stands. Connections and messages are counted from 1."""

    at: At
    connection: int
    message: int = 0
    subject: str = field(default="", repr=False)
    octets: int = 0


class FaultPlan:
    """The faults that are still to come, counted down under a lock because connections run side by side."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        """Start with these faults, in this order."""
        self._lock = threading.Lock()
        self._faults: list[Fault] = list(faults)
        self._met: dict[int, int] = {}

    def add(self, fault: Fault) -> None:
        """Put a fault behind the others."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget all faults: from now on the server behaves."""
        with self._lock:
            self._faults.clear()
            self._met.clear()

    def take(self, occasion: Occasion) -> Fault | None:
        """Return the fault that strikes now and count it, or ``None``."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if not fault.matches(occasion) or self._spent(index, fault):
                    continue
                self._met[index] = self._met.get(index, 0) + 1
                if self._met[index] > fault.skip:
                    return fault
        return None

    def _spent(self, index: int, fault: Fault) -> bool:
        return fault.times is not None and self._met.get(index, 0) >= fault.skip + fault.times

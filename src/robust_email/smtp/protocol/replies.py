"""SMTP replies: what one is, and a reader that makes them from octets (RFC 5321 4.2, RFC 3463).

Sans-IO. The reader is bounded: a peer that never ends a line, or a reply, costs no memory and no patience.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

MAX_LINE = 4096
"""Octets. RFC 5321 4.5.3.1.5 says 512; servers with long explanations exceed it."""
MAX_REPLY = 65_536
"""Octets of all lines of one reply."""

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(rb"([245])\.(\d{1,3})\.(\d{1,3})(?: |$)")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class ReplySyntaxError(ValueError):
    """The octets are no SMTP reply, or more of one than anybody sends honestly."""


class ReplyClass(enum.IntEnum):
    """The first digit of a reply code (RFC 5321 4.2.1)."""

    POSITIVE = 2
    INTERMEDIATE = 3
    TRANSIENT = 4
    PERMANENT = 5


@dataclass(frozen=True, slots=True)
class EnhancedStatusCode:
    """``class.subject.detail`` (RFC 3463)."""

    klass: int
    subject: int
    detail: int

    def __str__(self) -> str:
        """As on the wire."""
        return f"{self.klass}.{self.subject}.{self.detail}"


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. ``lines`` are the texts after the code, without line ends, as the server wrote them."""

    code: int
    lines: tuple[bytes, ...] = (b"",)

    @property
    def klass(self) -> ReplyClass:
        """The reply's class; unknown codes are judged by it (RFC 5321 4.3.2)."""
        return ReplyClass(self.code // 100)

    @property
    def positive(self) -> bool:
        """Whether this is a 2yz."""
        return self.klass is ReplyClass.POSITIVE

    @property
    def message(self) -> bytes:
        """The lines joined by LF: what ``smtplib`` calls ``smtp_error``."""
        return b"\n".join(self.lines)

    @property
    def enhanced(self) -> EnhancedStatusCode | None:
        """The enhanced status code at the front of the text, if it agrees with the reply's class."""
        match = _ENHANCED.match(self.lines[0])
        if match is None or int(match[1]) != self.klass:
            return None
        return EnhancedStatusCode(*(int(part) for part in match.groups()))

    @property
    def text(self) -> str:
        """One printable line for people: control characters escaped, at most 300 characters."""
        return printable(b" ".join(self.lines))

    def __str__(self) -> str:
        """Code and printable text."""
        return f"{self.code} {self.text}".rstrip()


def printable(octets: bytes, limit: int = 300) -> str:
    """Server text made safe for logs and pages: one line, nothing that moves a cursor, bounded."""
    text = octets[: 4 * limit].decode("utf-8", "backslashreplace")
    text = _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class ReplyReader:
    """Octets in, replies out, in order. After ``ReplySyntaxError`` it is not to be used again."""

    __slots__ = ("_buffer", "_code", "_lines", "_size")

    def __init__(self) -> None:
        """Start with nothing buffered."""
        self._buffer = bytearray()
        self._code: bytes | None = None
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def has_buffered(self) -> bool:
        """Whether octets came that no reply has used up yet."""
        return bool(self._buffer or self._lines)

    def feed(self, octets: bytes) -> None:
        """Add what the peer wrote."""
        self._buffer += octets

    def next_reply(self) -> Reply | None:
        """The next whole reply, or ``None`` when more octets are needed.

        Raises ``ReplySyntaxError`` for a line that is none, or for too long a line or reply.
        """
        while (line := self._next_line()) is not None:
            match = _LINE.fullmatch(line)
            if match is None or (self._code is not None and match[1] != self._code):
                raise ReplySyntaxError(f"the server's line is no SMTP reply: {printable(line, 120)!r}")
            self._code = match[1]
            self._lines.append(match[3] or b"")
            if match[2] != b"-":
                reply = Reply(int(match[1]), tuple(self._lines))
                self._code, self._lines, self._size = None, [], 0
                return reply
        return None

    def _next_line(self) -> bytes | None:
        """One line without its end. A lone LF ends a line too: lenient in what is read."""
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > MAX_LINE:
                raise ReplySyntaxError(f"the server's reply has a line of over {MAX_LINE} octets")
            return None
        if end > MAX_LINE:
            raise ReplySyntaxError(f"the server's reply has a line of over {MAX_LINE} octets")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._size += end + 1
        if self._size > MAX_REPLY:
            raise ReplySyntaxError(f"the server's reply is over {MAX_REPLY} octets long")
        return line.removesuffix(b"\r")

"""Read a client's octets as a server would: where data ends, and how many messages that makes.

Pure functions, with two readings of RFC 5321:

* *strict*: a line ends with CRLF and nothing else, so data ends with ``CRLF.CRLF`` only (RFC 5321 4.1.1.4);
* *lenient*: CR alone and LF alone end a line too, and NUL is skipped, as on the servers that let SMTP smuggling through
  (CVE-2023-51764, CVE-2023-51765, CVE-2023-51766).

A client is proof against smuggling when both readings of what it wrote hold the same messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_STRICT_END = re.compile(rb"(?:\A|(?<=\r\n))\.\r\n")
_LENIENT_END = re.compile(rb"(?:\A|(?<=[\r\n]))\0*\.\0*(?:\r\n|\r|\n)")
_LENIENT_STUFFING = re.compile(rb"(\A|\r\n|\r|\n)\0*\.")
_LENIENT_LINE_END = re.compile(rb"\r\n|\r|\n")
_PATH = re.compile(rb"<([^>]*)>")

_STRICT_MARK = len(b"\r\n.\r\n")
"""Octets before the newest ones that a second look for the end mark has to include."""


@dataclass(frozen=True, slots=True)
class WireMessage:
    """A message as a server that accepts every command would have seen it."""

    reverse_path: str
    forward_paths: tuple[str, ...]
    data: bytes = field(repr=False)


def find_end_of_data(data: bytes | bytearray, *, seen: int = 0, lenient: bool = False) -> tuple[int, int] | None:
    """Return where the content ends and where the next command starts, or ``None`` while the mark has not arrived.

    ``data`` starts right after the CRLF of ``DATA``; ``seen`` octets of it were searched before.
    """
    pattern = _LENIENT_END if lenient else _STRICT_END
    # The lenient mark has no longest form, for it may hold any number of NULs.
    found = pattern.search(data, 0 if lenient else max(0, seen - _STRICT_MARK))
    return found.span() if found else None


def unstuff(content: bytes, *, lenient: bool = False) -> bytes:
    """Take away the dot that the client put before each line that began with one (RFC 5321 4.5.2)."""
    if lenient:
        return _LENIENT_STUFFING.sub(rb"\1", content)
    content = content.removeprefix(b".")
    return content.replace(b"\r\n.", b"\r\n")


def parse_wire(data: bytes, *, lenient: bool = True) -> list[WireMessage]:
    """Return the messages in all that a client wrote, as a server sees them that answers 2yz or 354 to everything.

    ``data`` is the clear text of one connection, ``Transcript.received`` for one. Lines that are no command of a
    transaction are skipped, so that a smuggled command shows up as an additional message. A ``DATA`` that the real
    server refused is followed by no content: don't parse such a session.
    """
    return _WireReader(data, lenient=lenient).messages()


class _WireReader:
    """One pass over a client's octets."""

    def __init__(self, data: bytes, *, lenient: bool) -> None:
        self._rest = data
        self._lenient = lenient
        self._reverse_path = ""
        self._forward_paths: list[str] = []
        self._chunks: list[bytes] = []
        self._messages: list[WireMessage] = []

    def messages(self) -> list[WireMessage]:
        while self._rest:
            self._command(self._take_line())
        return self._messages

    def _take_line(self) -> bytes:
        if self._lenient:
            found = _LENIENT_LINE_END.search(self._rest)
            end, after = found.span() if found else (len(self._rest), len(self._rest))
        else:
            end = self._rest.find(b"\r\n")
            end, after = (end, end + 2) if end >= 0 else (len(self._rest), len(self._rest))
        line, self._rest = self._rest[:end], self._rest[after:]
        return line.replace(b"\0", b"") if self._lenient else line

    def _command(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        match verb.upper():
            case b"MAIL":
                self._start_over()
                self._reverse_path = _path(argument)
            case b"RCPT":
                self._forward_paths.append(_path(argument))
            case b"DATA":
                self._data()
            case b"BDAT":
                self._chunk(argument)
            case b"RSET" | b"EHLO" | b"HELO":
                self._start_over()

    def _data(self) -> None:
        found = find_end_of_data(self._rest, lenient=self._lenient)
        if found is None:
            self._rest = b""
            return
        end, after = found
        content, self._rest = self._rest[:end], self._rest[after:]
        self._finish(unstuff(content, lenient=self._lenient))

    def _chunk(self, argument: bytes) -> None:
        size, _, last = argument.partition(b" ")
        if not size.isdigit():
            return
        self._chunks.append(self._rest[: int(size)])
        self._rest = self._rest[int(size) :]
        if last.strip().upper() == b"LAST":
            self._finish(b"".join(self._chunks))

    def _finish(self, content: bytes) -> None:
        self._messages.append(WireMessage(self._reverse_path, tuple(self._forward_paths), content))
        self._start_over()

    def _start_over(self) -> None:
        self._reverse_path = ""
        self._forward_paths = []
        self._chunks = []


def _path(argument: bytes) -> str:
    found = _PATH.search(argument)
    return (found[1] if found else argument).decode("utf-8", "backslashreplace")

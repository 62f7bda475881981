"""What the header block of a serialised message really holds, read from its octets.

The library that serialised it is not asked: Python 3.11.7 and 3.12.1 turn the pure ASCII subject
``=?utf-8?q?a=0ABcc:_x@example.org?=`` into a real ``Bcc`` field. So the names are read back, as a server would
read them, and compared with those that were set.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from robust_email.smtp.lines import CRLF

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_NAMES_IN_ERROR: Final = 5

_FIELD_NAME = re.compile(rb"[!-9;-~]+")  # RFC 5322 3.6.8: printable ASCII without the colon
_BLANK_LINE = re.compile(rb"(?:\r\n|\r(?!\n)|\n){2}")
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"(?<!\r)\n")


class HeaderInjection(ValueError):
    """The header block holds something other than the fields that were set, or that parsers read differently."""


def header_block(content: bytes) -> bytes:
    """Return the header fields of canonical content, CRLF after each, without the blank line that ends them."""
    if content.startswith(CRLF):
        return b""
    end = content.find(b"\r\n\r\n")
    return content if end < 0 else content[: end + len(CRLF)]


def header_names(content: bytes) -> tuple[bytes, ...]:
    """Return the name of each field of canonical content, in order and as written, repeated ones repeated.

    Raises:
        HeaderInjection: a line of the block is neither a field nor the continuation of one.
    """
    return tuple(name for name, _ in header_fields(content))


def header_fields(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each field of canonical content as ``(name, value)``, the value unfolded and stripped (RFC 5322 2.2.3).

    Raises:
        HeaderInjection: a line of the block is neither a field nor the continuation of one.
    """
    name, value = b"", b""
    for line in header_block(content).split(CRLF)[:-1]:
        if line[:1] in {b" ", b"\t"} and name:
            value += line
            continue
        if name:
            yield name, value.strip()
        name, colon, value = line.partition(b":")
        if not colon or not _FIELD_NAME.fullmatch(name):
            raise HeaderInjection("The header block holds a line that is not a header field.")
    if name:
        yield name, value.strip()


def check_headers(content: bytes, expected: Collection[str]) -> None:
    """Make sure that the block of canonical content holds exactly the fields that were set.

    Args:
        content: the serialised message.
        expected: the name of each field that was set, once for each time it was set, in any case and order.

    Raises:
        HeaderInjection: a field is there that was not set, or one is missing; the text names it, without its value.
    """
    found = Counter(name.decode("ascii").lower() for name in header_names(content))
    wanted = Counter(name.lower() for name in expected)
    if found != wanted:
        raise HeaderInjection(
            "The serialised header block is not the one that was set"
            f" (not set: {_listed(found - wanted)}; missing: {_listed(wanted - found)})."
            " A header's value has probably smuggled in a line end."
        )


def check_line_ends(raw: bytes) -> None:
    r"""Make sure, before line ends are repaired, that those of the header block are all CRLF or all LF.

    A bare CR inside a value (``a\rBcc: x``), or an LF among CRLFs, is not a line end that needs repair: repaired,
    it would make one header field two.

    Raises:
        HeaderInjection: the header block mixes its line ends, or holds a bare CR.
    """
    if raw[:1] in {b"\r", b"\n"}:
        return
    end = raw.find(b"\r\n\r\n")
    if end >= 0 and raw.count(b"\r", 0, end) == raw.count(b"\n", 0, end) == raw.count(CRLF, 0, end):
        return  # the rule, told by counting
    blank = _BLANK_LINE.search(raw)
    block = raw[: blank.end()] if blank else raw
    if _BARE_CR.search(block) or (CRLF in block and _BARE_LF.search(block)):
        raise HeaderInjection("The header block holds a bare CR, or LF among CRLF; a header's value may hold neither.")


def _listed(names: Counter[str]) -> str:
    # ascii(): a "missing" name comes from the caller and may hold anything.
    shown = [ascii(name)[:60] for name in sorted(names)[:MAX_NAMES_IN_ERROR]]
    return ", ".join(shown) + (", ..." if len(names) > MAX_NAMES_IN_ERROR else "") or "none"

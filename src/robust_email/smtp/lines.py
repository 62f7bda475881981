"""Line ends and line lengths of mail data, at the speed of memory: each function is a few passes in C.

On the wire a line ends in CRLF, and CR and LF stand nowhere else (RFC 5321 2.3.8). That is more than tidiness: a
server that takes a bare LF or CR for a line end sees the end of data, and a second, smuggled transaction, where
the client sees one body (CVE-2023-51764 and its kin). So line ends are repaired before anything else looks at
them, and NUL, on which servers disagree as well, is refused.
"""

from __future__ import annotations

import re
from typing import Final

CRLF: Final = b"\r\n"
MAX_LINE: Final = 998
"""Octets, without the CRLF (RFC 5321 4.5.3.1.6, RFC 5322 2.1.1)."""

_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"(?<!\r)\n")


def is_canonical(data: bytes) -> bool:
    """Whether lines end in CRLF, the last one too, CR and LF stand nowhere else, and there is no NUL."""
    pairs = data.count(CRLF)
    return (
        data.count(b"\n") == pairs
        and data.count(b"\r") == pairs
        and b"\0" not in data
        and (not data or data.endswith(CRLF))
    )


def canonicalize(data: bytes) -> bytes:
    """Return the data with each line end (CRLF, CR or LF) as CRLF, and one after the last line.

    Data that is canonical already comes back as the very same object. Empty data stays empty.

    Raises:
        ValueError: the data holds a NUL; no encoding of a mail needs one (RFC 5321 4.5.2, RFC 5322 2.1.1).
    """
    if is_canonical(data):
        return data
    if b"\0" in data:
        raise ValueError("The message holds a NUL octet, which mail cannot carry; encode that part as base64.")
    pairs = data.count(CRLF)
    if data.count(b"\r") != pairs:
        data = _BARE_CR.sub(CRLF, data)
        pairs = data.count(CRLF)
    if data.count(b"\n") != pairs:
        # Text with LF alone, the common case, takes the fast way.
        data = data.replace(b"\n", CRLF) if pairs == 0 else _BARE_LF.sub(CRLF, data)
    return data if data.endswith(CRLF) else data + CRLF


def needs_8bit(data: bytes) -> bool:
    """Whether an octet is above 127: the server must offer 8BITMIME (RFC 6152)."""
    return not data.isascii()


def longest_line(data: bytes) -> int:
    """Return the length of the longest line of canonical data, in octets without its CRLF."""
    return max(map(len, data.split(CRLF)))

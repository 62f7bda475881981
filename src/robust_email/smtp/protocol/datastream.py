"""How mail data travels: dot-stuffed after DATA (RFC 5321 4.5.2), counted after BDAT (RFC 3030).

Both take canonical data (``robust_email.smtp.lines``; a ``MailData`` holds nothing else). In DATA, every line that
begins with a dot gets a second one, and a lone dot ends the data. BDAT says the number of octets, and sends them
as they are.
"""

from __future__ import annotations

from typing import Final

from robust_email.smtp.lines import CRLF, canonicalize, is_canonical, longest_line, needs_8bit

__all__ = ["END_OF_DATA", "bdat_header", "canonicalize", "dot_stuff", "is_canonical", "longest_line", "needs_8bit"]

END_OF_DATA: Final = b".\r\n"
"""The last line of a DATA transfer; the CRLF before it belongs to the data's own last line."""


def dot_stuff(data: bytes) -> bytes:
    """Return what to write after the 354: the data, transparent, and the end-of-data mark.

    Args:
        data: canonical mail data, empty or ending in CRLF.

    Raises:
        ValueError: the data does not end in CRLF, so that the mark would not stand on a line of its own.
    """
    if data and not data.endswith(CRLF):
        raise ValueError("Mail data must end in CRLF: make it canonical first.")
    leading_dot = b"." if data.startswith(b".") else b""
    return b"".join((leading_dot, data.replace(b"\r\n.", b"\r\n.."), END_OF_DATA))


def bdat_header(size: int, *, last: bool) -> bytes:
    """Return the command line that announces a chunk of ``size`` octets (RFC 3030 2).

    Raises:
        ValueError: the size is negative.
    """
    if size < 0:
        raise ValueError(f"A chunk cannot have {size} octets.")
    return b"BDAT %d%b\r\n" % (size, b" LAST" if last else b"")

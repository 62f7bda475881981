"""The server's replies as text: their codes (RFC 5321 4.2) and their octets on the wire."""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """Codes that change what the server does next."""

    READY = 220
    AUTHENTICATED = 235
    OK = 250
    START_CONTENT = 354
    CLOSING = 421


def octets(reply: str) -> bytes:
    """Return a reply text as it stands on the wire; lines may be separated by LF or CRLF."""
    return b"".join(line.encode() + b"\r\n" for line in reply.splitlines())


def code_of(reply: str | None) -> int:
    """Return the reply code, or 0 for what is no reply."""
    return int(reply[:3]) if reply and reply[:3].isdigit() else 0


def is_positive(reply: str | None) -> bool:
    """Tell whether the reply is a 2yz."""
    return bool(reply) and str(reply).startswith("2")

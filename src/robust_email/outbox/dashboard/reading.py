"""A mail's octets as a person reads them: headers, text, and what is attached. Nothing of it is run or fetched."""

from __future__ import annotations

from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

LONGEST: Final = 200_000
"""Characters of a part that are shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """``text`` is empty for what is no text; ``size`` is octets, decoded."""

    content_type: str
    name: str
    size: int
    text: str


@dataclass(frozen=True, slots=True)
class Readable:
    """The whole mail."""

    headers: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]


def readable(content: bytes) -> Readable:
    """Take a mail apart; never raises, whatever the octets."""
    message = message_from_bytes(content, policy=policy.default)
    if not isinstance(message, EmailMessage):
        raise TypeError("the default policy makes EmailMessages")
    headers = tuple((name, _header(name, raw)) for name, raw in message.raw_items())
    return Readable(headers, tuple(_part(part) for part in message.walk() if not part.is_multipart()))


def _header(name: str, raw: str) -> str:
    try:
        return str(policy.default.header_fetch_parse(name, raw))
    except Exception:  # noqa: BLE001 - the parser of a header raises what it likes, and the raw words will do
        return raw


def _part(part: EmailMessage) -> Part:
    payload = part.get_payload(decode=True)
    octets = payload if isinstance(payload, bytes) else b""
    text = ""
    if part.get_content_maintype() == "text" and not part.is_attachment():
        text = _decoded(octets, part.get_content_charset("utf-8"))[:LONGEST]
    return Part(part.get_content_type(), part.get_filename() or "", len(octets), text)


def _decoded(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset, errors="replace")
    except LookupError:
        return octets.decode("utf-8", errors="replace")

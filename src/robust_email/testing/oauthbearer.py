"""The client's message of OAUTHBEARER (RFC 7628 3.1), read to the letter of its grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

ACKNOWLEDGEMENT: Final = b"\x01"
"""How a client ends an exchange that failed (RFC 7628 3.2.3)."""

_SEPARATOR: Final = b"\x01"
_HEADER: Final = re.compile(rb"[ny],(?:a=(?P<authzid>(?:[^\x00,=]|=2C|=3D)+))?,")
_LIST: Final = re.compile(rb"\x01(?:[^\x01]+\x01)*\x01")
_PAIR: Final = re.compile(rb"(?P<key>[A-Za-z]+)=(?P<value>[\t\n\r -~]*)")
_AUTH: Final = re.compile(r"bearer +(?P<token>[A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)  # RFC 6750 2.1, RFC 7235 2.1
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_LAST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """What a client says of itself. Keys that RFC 7628 does not know are left out."""

    authzid: str
    """Whose mailbox; empty where the client leaves that to the token."""
    token: str = field(repr=False)
    host: str = ""
    port: int | None = None


def parse_client_message(octets: bytes) -> ClientMessage:
    """Return the message. Raises ``ValueError`` with what is wrong with it; the text holds nothing of the message."""
    header = _HEADER.match(octets)
    if not header:
        raise ValueError("OAUTHBEARER wants a GS2 header without channel binding")
    authzid = (header["authzid"] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
    pairs = _pairs(octets[header.end() :])
    auth = _AUTH.fullmatch(pairs.get("auth", ""))
    if not auth:
        raise ValueError("OAUTHBEARER wants auth=Bearer and a token")
    port = pairs.get("port")
    if port is not None and not (_PORT.fullmatch(port) and int(port) <= _LAST_PORT):
        raise ValueError("port is a decimal number without leading zeros")
    try:
        name = authzid.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("the user name is UTF-8") from error
    return ClientMessage(name, auth["token"], pairs.get("host", ""), int(port) if port else None)


def _pairs(octets: bytes) -> dict[str, str]:
    """Read ``kvsep *kvpair kvsep``, in which each pair ends with a separator of its own."""
    if not _LIST.fullmatch(octets):
        raise ValueError("one %x01 stands before the pairs, one behind each, and one at the end")
    found: dict[str, str] = {}
    for part in octets.split(_SEPARATOR)[1:-2]:
        pair = _PAIR.fullmatch(part)
        if not pair:
            raise ValueError("a pair is letters, = and printable characters")
        key = pair["key"].decode("ascii")
        if key in found:
            raise ValueError("a key comes once")
        found[key] = pair["value"].decode("ascii")
    return found

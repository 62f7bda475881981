"""One DNS question to one name server over UDP (RFC 1035 4), without a library: to work where nothing else does."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import struct
from dataclasses import dataclass
from typing import Final

A: Final = 1
AAAA: Final = 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
_LENGTH_OF: Final = {A: 4, AAAA: 16}
_INTERNET: Final = 1
_RECURSION_DESIRED: Final = 0x0100
_IS_RESPONSE: Final = 0x8000
_POINTER: Final = 0xC0
_HEADER: Final = struct.Struct("!6H")
_MOST_LABELS: Final = 128
_LONGEST_LABEL: Final = 63
_DATAGRAM: Final = 4096


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """``code`` is the RCODE; ``addresses`` those of the type that was asked for."""

    code: int
    addresses: tuple[str, ...]


def query(name: str, kind: int, identity: int) -> bytes:
    """A question for the absolute ``name``. Raises ``ValueError``: no DNS name."""
    labels = [label.encode("idna") if not label.isascii() else label.encode() for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise ValueError("a label of the name is empty or longer than 63 octets")
    question = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEADER.pack(identity, _RECURSION_DESIRED, 1, 0, 0, 0) + question + struct.pack("!2H", kind, _INTERNET)


def read_answer(datagram: bytes, kind: int, identity: int) -> DnsAnswer:
    """Read a response. Raises ``ValueError``: no DNS message, or the answer to another question."""
    try:
        found, flags, questions, answers, _, _ = _HEADER.unpack_from(datagram)
        if found != identity or not flags & _IS_RESPONSE:
            raise ValueError("not the response to this question")
        at = _HEADER.size
        for _ in range(questions):
            at = _end_of_name(datagram, at) + 4
        return DnsAnswer(flags & 0x000F, _addresses(datagram, at, answers, kind))
    except (struct.error, IndexError) as exc:
        raise ValueError("not a DNS message") from exc


def _addresses(datagram: bytes, at: int, count: int, kind: int) -> tuple[str, ...]:
    addresses = []
    for _ in range(count):
        at = _end_of_name(datagram, at)
        found, _, _, length = struct.unpack_from("!2HIH", datagram, at)
        at += 10
        data = datagram[at : at + length]
        at += length
        if found == kind and len(data) == _LENGTH_OF[kind]:
            addresses.append(str(ipaddress.ip_address(data)))
    return tuple(addresses)


def _end_of_name(datagram: bytes, at: int) -> int:
    for _ in range(_MOST_LABELS):
        length = datagram[at]
        if length & _POINTER:
            return at + 2
        at += 1 + length
        if not length:
            return at
    raise ValueError("a name without end")


def ask(server: str, name: str, kind: int, seconds: float, port: int = 53) -> DnsAnswer:
    """Ask one server (an address) for the addresses of an absolute name.

    Raises ``TimeoutError``; other ``OSError``: there is no way to it; ``ValueError``: no DNS answer, or no DNS name.
    """
    identity = secrets.randbelow(1 << 16)
    question = query(name, kind, identity)
    family, _, _, _, address = socket.getaddrinfo(server, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        sock.connect(address)  # so that only its datagrams come in, and its port's being closed is told
        sock.send(question)
        return read_answer(sock.recv(_DATAGRAM), kind, identity)

"""A DNS server for these tests: answers, refuses, is silent or talks nonsense, on UDP and a free port."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

A, TXT, AAAA = 1, 16, 28
NXDOMAIN, SERVFAIL, REFUSED = 3, 2, 5


@dataclass(frozen=True)
class Habit:
    """How a name server behaves. ``zone``: absolute name to addresses; a name that is missing is NXDOMAIN."""

    zone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name to TXT records."""
    rcode: int = 0
    """Answer everything with this instead."""
    silent: bool = False
    nonsense: bytes = b""


class NameServer:
    """Serves one address from entry to exit."""

    def __init__(self, habit: Habit, address: str = "127.0.0.1", port: int = 0) -> None:
        """Bind; the thread starts on entry."""
        self._habit = habit
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self.address, self.port = self._socket.getsockname()
        self._thread = threading.Thread(target=self._run)
        self.asked: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.address, self.port))
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            datagram, peer = self._socket.recvfrom(4096)
            if not datagram:
                return
            name, kind, end = _question(datagram)
            self.asked.append(name)
            if self._habit.nonsense:
                self._socket.sendto(self._habit.nonsense, peer)
            elif not self._habit.silent:
                self._socket.sendto(self._response(datagram, name, kind, end), peer)

    def _response(self, datagram: bytes, name: str, kind: int, end: int) -> bytes:
        known = self._habit.texts.get(name) if kind == TXT else self._habit.zone.get(name)
        rcode = self._habit.rcode or (NXDOMAIN if known is None else 0)
        data = _data(kind, known or ()) if not rcode else []
        header = datagram[:2] + struct.pack("!5H", 0x8180 | rcode, 1, len(data), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 60, len(each)) + each for each in data]
        return header + datagram[12:end] + b"".join(records)


def _question(datagram: bytes) -> tuple[str, int, int]:
    labels, at = [], 12
    while length := datagram[at]:
        labels.append(datagram[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), struct.unpack_from("!H", datagram, at + 1)[0], at + 5


def _data(kind: int, records: Sequence[str]) -> list[bytes]:
    """Return records as RDATA; of addresses those that the question is about."""
    if kind == TXT:
        halves = [(text[: len(text) // 2].encode(), text[len(text) // 2 :].encode()) for text in records]
        return [b"".join(bytes([len(half)]) + half for half in pair) for pair in halves]
    addresses = [ipaddress.ip_address(each) for each in records]
    return [each.packed for each in addresses if each.version == {A: 4, AAAA: 6}[kind]]

"""A SOCKS 5 and HTTP proxy for tests, written from the RFCs and apart from the client's half.

It knows one relay by name, so that a test sees that the name reached it. A fault is an answer in the right
one's place.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_PATIENCE = 10.0


@dataclass
class ProxyServer:
    """``targets`` maps ``host:port`` as asked for to where it is. ``asked`` notes every request."""

    targets: dict[str, tuple[str, int]] = field(default_factory=dict)
    user: str = ""
    password: str = ""
    answer: bytes | None = None
    """Given in place of the right answer to the request, and then the end."""
    drip: bool = False
    """Answer octet by octet."""

    def __post_init__(self) -> None:
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(_PATIENCE)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_PATIENCE)
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(_PATIENCE)
            self._open.append(client)
            self._start(self._serve, client)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type] # any callable of ours
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            first = client.recv(1, socket.MSG_PEEK)
            relay = self._socks(client) if first == b"\x05" else self._http(client)
            if relay is None:
                client.shutdown(socket.SHUT_RDWR)
                return
            self._start(self._carry, client, relay)
            self._carry(relay, client)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(65_536):
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)

    def _reply(self, client: socket.socket, octets: bytes) -> None:
        if self.drip:
            for octet in octets:
                client.sendall(bytes([octet]))
        else:
            client.sendall(octets)

    def _connect(self, target: str) -> socket.socket | None:
        self.asked.append(target)
        address = self.targets.get(target)
        if address is None:
            return None
        self._open.append(socket.create_connection(address, timeout=_PATIENCE))
        return self._open[-1]

    def _socks(self, client: socket.socket) -> socket.socket | None:
        _, count = _exactly(client, 2)
        methods = _exactly(client, count)
        wanted = 2 if self.user else 0
        if wanted not in methods:
            self._reply(client, b"\x05\xff")
            return None
        self._reply(client, bytes([5, wanted]))
        if self.user:
            _, length = _exactly(client, 2)
            user = _exactly(client, length)
            password = _exactly(client, _exactly(client, 1)[0])
            good = (user.decode(), password.decode()) == (self.user, self.password)
            self._reply(client, b"\x01" + (b"\x00" if good else b"\x01"))
            if not good:
                return None
        _, _, _, kind = _exactly(client, 4)
        if kind == 3:
            host = _exactly(client, _exactly(client, 1)[0]).decode()
        else:
            host = socket.inet_ntop(
                *((socket.AF_INET, _exactly(client, 4)) if kind == 1 else (socket.AF_INET6, _exactly(client, 16)))
            )
        relay = self._connect(f"{host}:{int.from_bytes(_exactly(client, 2))}")
        if self.answer is not None or relay is None:
            self._reply(client, self.answer or b"\x05\x04\x00\x01" + bytes(6))
            return None
        self._reply(client, b"\x05\x00\x00\x03\x0bproxy.inner\x04\xd2")
        return relay

    def _http(self, client: socket.socket) -> socket.socket | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _exactly(client, 1)
        request, *fields = head.decode().split("\r\n")
        method, target, _ = request.split(" ")
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user and f"Proxy-Authorization: Basic {login}" not in fields:
            self._reply(client, b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        relay = self._connect(target) if method == "CONNECT" else None
        if self.answer is not None or relay is None:
            self._reply(client, self.answer or b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return None
        self._reply(client, b"HTTP/1.0 200 Connection established\r\nVia: test\r\n\r\n")
        return relay


def _exactly(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        octets = sock.recv(count - len(found))
        if not octets:
            raise EOFError
        found += octets
    return found

"""A TCP proxy that a test can cut, refuse, deafen and slow down, between any client and any server.

It knows nothing of SMTP and counts octets as they pass, so with TLS it cuts inside records. Each connection's octets
are moved by ``link.py``.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Self

from robust_email.testing.link import Cut, Ending, Line, Link, Toward

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

__all__ = ["Cut", "CuttableProxy", "Ending", "Toward"]

_HOST = "127.0.0.1"
_BACKLOG = 256
_JOIN_TIMEOUT = 10.0
"""Seconds for a thread to notice the end; it takes milliseconds, and more is an error of this module."""


class CuttableProxy:
    """Forward connections from a free port of the loopback to ``upstream_host:upstream_port``.

    ``cuts`` are performed on each connection they fit. ``rtt`` is a round trip in seconds: each direction is delayed by
    half of it, order kept, bandwidth unlimited, and the upstream is opened after one and a half round trips. So a
    greeting arrives 2.0 RTT after the client began to connect, as over a real line with its TCP handshake, and a reply
    1.0 RTT after its command.
    """

    def __init__(self, upstream_host: str, upstream_port: int, *, cuts: Sequence[Cut] = (), rtt: float = 0.0) -> None:
        """Describe the proxy; nothing is opened before :meth:`start`."""
        self.host = _HOST
        self._line = Line((upstream_host, upstream_port), rtt)
        self._cuts = tuple(cuts)
        self._lock = threading.Lock()
        self._links: list[Link] = []
        self._count = 0
        self._reserved: socket.socket | None = None
        self._listener: _Listener | None = None

    @property
    def port(self) -> int:
        """The port in use; :exc:`RuntimeError` before :meth:`start`. It stays the same through :meth:`refuse`."""
        if self._reserved is None:
            raise RuntimeError("the proxy has not been started")
        return int(self._reserved.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections were taken so far."""
        with self._lock:
            return self._count

    def cut(self, ending: Ending = Ending.RST) -> None:
        """Cut every open connection now; new ones are taken."""
        for link in self._open_links():
            link.cut(ending)

    def refuse(self) -> None:
        """Refuse new connections (ECONNREFUSED) until :meth:`restore`; those that are open go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def deaf(self) -> None:
        """Take connections and octets and forward nothing, either way, until :meth:`restore`: a black hole."""
        self._line.hearing = False

    def restore(self) -> None:
        """Forward and listen again. What :meth:`deaf` held back arrives now."""
        self._line.hearing = True
        for link in self._open_links():
            link.wake()
        if self._listener is None:
            self._listener = _Listener(self.port, self._take)

    def start(self) -> Self:
        """Listen; returns the proxy itself."""
        # Bound and never listening: it keeps the port ours while nobody listens, and connecting to it is refused.
        self._reserved = _bind(0)
        self._listener = _Listener(self.port, self._take)
        return self

    def close(self) -> None:
        """Cut everything and wait until all threads are gone."""
        self.refuse()
        links = self._open_links()
        for link in links:
            link.cut(Ending.RST)
        for link in links:
            link.join(_JOIN_TIMEOUT)
        if self._reserved is not None:
            self._reserved.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _open_links(self) -> list[Link]:
        with self._lock:
            self._links = [link for link in self._links if link.is_alive()]
            return list(self._links)

    def _take(self, client: socket.socket) -> None:
        with self._lock:
            self._count += 1
            cuts = [cut for cut in self._cuts if cut.connection in (None, self._count)]
            link = Link(client, self._line, cuts)
            self._links.append(link)
            link.start()


class _Listener:
    """A listening socket with its thread."""

    def __init__(self, port: int, take: Callable[[socket.socket], None]) -> None:
        self._take = take
        self._socket = _bind(port)
        self._socket.listen(_BACKLOG)
        self._socket.setblocking(False)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._accept_all, name=f"CuttableProxy {port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._wake_writer.send(b"\0")
        self._thread.join(_JOIN_TIMEOUT)
        for sock in (self._socket, self._wake_reader, self._wake_writer):
            sock.close()

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._wake_reader in ready:
                    return
                with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                    self._take(self._socket.accept()[0])


def _bind(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((_HOST, port))
    return sock

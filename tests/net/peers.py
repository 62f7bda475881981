"""The other end of a connection in these tests: a thread that takes one connection and does what it is told."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from robust_email.smtp.net.bytestream import ByteStream
    from robust_email.smtp.net.deadline import Deadline

Behaviour = Callable[[socket.socket], None]

_PATIENCE = 10.0
"""Seconds after which a peer that nobody talks to gives up, and fails the test."""


class Peer:
    """Listens on a free port of the loopback, takes one connection, hands it to ``behave``, closes it."""

    def __init__(self, behave: Behaviour) -> None:
        """Listen; the thread starts on entry."""
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE)
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.port: int = self._listener.getsockname()[1]

    def connect(self) -> socket.socket:
        """Connect to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE)

    def _run(self) -> None:
        try:
            connection, _ = self._listener.accept()
            connection.settimeout(_PATIENCE)
            with connection:
                self._behave(connection)
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._thread.join()
        self._listener.close()
        if self._error is not None and error is None:
            raise self._error


def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection over the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), timeout=_PATIENCE)
        theirs, _ = listener.accept()
    theirs.settimeout(_PATIENCE)
    return ours, theirs


def reset(sock: socket.socket) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read(stream: ByteStream, deadline: Deadline) -> bytes:
    """Wait for the next octets of a stream."""
    while (octets := stream.read_some()) is None:
        stream.wait(read=True, write=False, deadline=deadline)
    return octets


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """Read ``count`` octets from a blocking socket, less only at the end of file."""
    octets = bytearray()
    while len(octets) < count and (more := sock.recv(count - len(octets))):
        octets += more
    return bytes(octets)


def write_all(stream: ByteStream, data: bytes, deadline: Deadline) -> int:
    """Write everything; return how often it would have blocked."""
    rest, waits = memoryview(data), 0
    while rest:
        taken = stream.write_some(rest)
        rest = rest[taken:]
        if not taken:
            waits += 1
            stream.wait(read=False, write=True, deadline=deadline)
    return waits

"""The server's end of one connection: a buffered, recorded stream that another thread can end at any moment.

No call here blocks past :meth:`Channel.interrupt`: reads wake up with an end of file, waits wake up by the stop event.
Whatever ends the connection, on whichever side, surfaces as :exc:`ConnectionEnded`.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING

from robust_email.testing.wire import find_end_of_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from robust_email.testing.faults import Action
    from robust_email.testing.ledger import ConnectionRecord

_CHUNK = 65536
_LONGEST_LINE = 12288
"""Octets in a command line: RFC 4954 4 asks for 12288 for SASL responses; all other lines are shorter."""


class ConnectionEnded(Exception):
    """There is nothing more to read or write: the client left, or the server ended the connection."""


class Woken(Exception):
    """An action was posted for this connection."""


class LineTooLong(Exception):
    """The client sent more than the longest line without an end of line."""


class Channel:
    """One accepted connection."""

    def __init__(self, sock: socket.socket, record: ConnectionRecord, stopping: threading.Event) -> None:
        """Take over the socket; ``stopping`` is the server's."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.record = record
        self._socket = sock
        self._stopping = stopping
        self._buffer = bytearray()
        self._swap = threading.RLock()
        self._open = True
        self._posted: deque[Action] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock.fileno(), selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)

    def read_line(self, *, lenient: bool = False, timeout: float | None = None, wakeable: bool = False) -> bytes:
        """Return the next line without its CRLF; lenient: any of CRLF and LF.

        Raises :exc:`LineTooLong`, :exc:`TimeoutError` after ``timeout`` seconds, :exc:`Woken` by :meth:`post` where
        ``wakeable``, :exc:`ConnectionEnded`.
        """
        mark = b"\n" if lenient else b"\r\n"
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > _LONGEST_LINE:
                self._buffer.clear()
                raise LineTooLong
            self._await_input(timeout=timeout, wakeable=wakeable)
            self._fill()
        line = self._consume(end + len(mark))[:end]
        return line.removesuffix(b"\r") if lenient else line

    def read_exactly(self, count: int, progress: Callable[[int], None]) -> bytes:
        """Return ``count`` octets; ``progress`` hears how many are there whenever some arrived."""
        while len(self._buffer) < count:
            progress(len(self._buffer))
            self._fill()
        progress(count)
        return self._consume(count)

    def read_content(self, *, lenient: bool, progress: Callable[[int], None]) -> bytes:
        """Return the content up to the end-of-data mark, still dot-stuffed, and consume the mark."""
        seen = 0
        while (found := find_end_of_data(self._buffer, seen=seen, lenient=lenient)) is None:
            progress(len(self._buffer))
            seen = len(self._buffer)
            self._fill()
        end, after = found
        progress(end)
        return self._consume(after)[:end]

    def has_input(self) -> bool:
        """Tell whether the client has written something that was not read yet."""
        if not self._buffer and self._is_readable():
            self._fill()
        return bool(self._buffer)

    def discard_input(self) -> bytes:
        """Drop and return what has arrived and was not read as a command."""
        return self._consume(len(self._buffer))

    def write(self, data: bytes) -> None:
        """Write all octets and note them."""
        self.record.written(data)
        with self._ending():
            self._socket.sendall(data)

    def pause(self, seconds: float) -> None:
        """Wait, unless the server is being closed."""
        if seconds > 0 and self._stopping.wait(seconds):
            raise ConnectionEnded

    def stall(self, *, reading: bool) -> None:
        """Stay silent until the client leaves (noticed when ``reading``) or the server is closed."""
        while reading:
            self._buffer.clear()
            self._fill()
        self._stopping.wait()
        raise ConnectionEnded

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the server's side of a TLS handshake; a failure is recorded and ends the connection."""
        try:
            with self._swap:
                # wrap_socket would leave its half-made socket unclosed for a connection that was reset meanwhile.
                self._socket.getpeername()
                self._socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
            self._socket.do_handshake()
        except (OSError, ValueError) as error:
            self.record.tls_failed(str(error))
            raise ConnectionEnded from error
        self.record.tls_started(self._socket.version())

    def close(self) -> None:
        """End the connection with a FIN; what the client still writes is answered by a RST."""
        with self._swap:
            if not self._open:
                return
            self._open = False
            with contextlib.suppress(OSError):
                # First, because closing over unread octets sends a RST and no FIN.
                socket.socket.shutdown(self._socket, socket.SHUT_WR)
            self._release()
        self.record.closed()

    def reset(self) -> None:
        """End the connection with a RST."""
        with self._swap:
            if not self._open:
                return
            self._open = False
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._release()
        self.record.closed()

    def post(self, action: Action) -> None:
        """From another thread: have the connection's own thread perform an action when it next awaits a command."""
        with self._swap:
            if self._open:
                self._posted.append(action)
                self._wake_writer.send(b"\0")

    def posted(self) -> Action | None:
        """Return the next action that was posted, if any."""
        return self._posted.popleft() if self._posted else None

    def interrupt(self) -> None:
        """From another thread: wake whatever this connection waits for, by an end of file."""
        with self._swap, contextlib.suppress(OSError):
            # SSLSocket.shutdown would take the TLS object away from the thread that is reading.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _await_input(self, *, timeout: float | None, wakeable: bool) -> None:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return
        if wakeable and self._posted:
            raise Woken
        ready = self._selector.select(timeout)
        if not ready:
            raise TimeoutError
        if wakeable and any(key.fileobj is self._wake_reader for key, _ in ready):
            self._wake_reader.recv(_CHUNK)
            raise Woken

    def _fill(self) -> None:
        with self._ending():
            data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionEnded
        self.record.received(data)
        self._buffer += data

    def _consume(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _is_readable(self) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return any(key.fileobj is not self._wake_reader for key, _ in self._selector.select(0))

    def _release(self) -> None:
        self._selector.close()
        for sock in (self._socket, self._wake_reader, self._wake_writer):
            sock.close()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise ConnectionEnded from error

"""A client with no opinions: writes octets and reads them, so that a test of the server depends on no SMTP client."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer
    from robust_email.testing.proxy import CuttableProxy

GREETING = b"220 scripted.test ESMTP ready\r\n"
TRANSACTION = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n"
CONTENT = b"Message-ID: <1@example.org>\r\nSubject: x\r\n\r\nhello\r\n"


class Wire:
    """A socket that reads whole replies."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.buffer = b""

    def write(self, data: bytes) -> None:
        """Write all of it."""
        self.socket.sendall(data)

    def reply(self) -> bytes:
        """Read one reply, all its lines; what is there at the end of the stream if that comes first."""
        lines = b""
        while True:
            line = self._line()
            lines += line
            if line[3:4] != b"-":
                return lines

    def ask(self, command: bytes) -> bytes:
        """Write a command line and read the reply."""
        self.write(command + b"\r\n")
        return self.reply()

    def rest(self) -> bytes:
        """Read to the end of the stream."""
        data, self.buffer = self.buffer, b""
        while chunk := self.socket.recv(65536):
            data += chunk
        return data

    def _line(self) -> bytes:
        while b"\n" not in self.buffer:
            chunk = self.socket.recv(65536)
            if not chunk:
                line, self.buffer = self.buffer, b""
                return line
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"


@contextlib.contextmanager
def connected(server: ScriptedServer | CuttableProxy, timeout: float = 5.0) -> Iterator[Wire]:
    """Connect, and read nothing yet."""
    with socket.create_connection((server.host, server.port), timeout) as sock:
        yield Wire(sock)


@contextlib.contextmanager
def ready(server: ScriptedServer | CuttableProxy) -> Iterator[Wire]:
    """Connect, read the greeting and say EHLO."""
    with connected(server) as wire:
        wire.reply()
        wire.ask(b"EHLO client.example.org")
        yield wire

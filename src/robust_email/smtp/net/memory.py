r"""A stream without a socket: a script of what the server writes, for tests of sessions octet by octet.

    stream = MemoryStream([b"220 mx\r\n", b"250-mx\r\n2", b"50 PIPELINING\r\n", ConnectionResetError()])

Each entry is what one ``read_some`` finds: octets, ``b""`` for the end of file, or an exception to raise. Where the
script ends the server is silent, so that waiting for it ends in ``TimeoutError`` at once, whatever the deadline.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from robust_email.smtp.net.bytestream import Liveness

if TYPE_CHECKING:
    import datetime as dt
    import ssl
    from collections.abc import Iterable

    from robust_email.smtp.net.bytestream import Writable
    from robust_email.smtp.net.deadline import Deadline

Step = bytes | Exception


class MemoryStream:
    """A ``ByteStream`` played from a script. ``written`` holds all that the client wrote.

    ``write_limit``: octets that one ``write_some`` takes at most. ``room``: octets taken in all; then ``write_error``
    is raised if given, and otherwise writing blocks for ever. ``unsolicited`` is what ``liveness`` finds; with ``b""``
    it finds the end of file. ``tls_error`` is raised by ``start_tls``.
    """

    def __init__(
        self, script: Iterable[Step] = (), *, write_limit: int = 65_536, room: int | None = None, peer: str = ""
    ) -> None:
        """Begin in the clear, alive, with the script not yet read."""
        self._script = deque(script)
        self._write_limit = write_limit
        self._room = room
        self._peer = peer
        self.written = bytearray()
        self.write_error: Exception | None = None
        self.tls_error: Exception | None = None
        self.unsolicited: bytes | None = None
        self.peer_is_loopback = False
        self.own_address = ""
        self.tls_version: str | None = None
        self.cipher: str | None = None
        self.certificate_not_after: dt.datetime | None = None
        self.closed = False
        self.aborted = False

    def feed(self, *steps: Step) -> None:
        """Add to the end of the script."""
        self._script.extend(steps)

    @property
    def peer(self) -> str:
        """As given."""
        return self._peer

    def write_some(self, data: Writable) -> int:
        """Take as much as the limits allow."""
        octets = bytes(data) if isinstance(data, (bytes, bytearray, memoryview)) else b"".join(data)
        limit = self._write_limit
        if self._room is not None:
            limit = min(limit, self._room)
            if not limit and self.write_error is not None:
                raise self.write_error
            self._room -= len(octets[:limit])
        self.written += octets[:limit]
        return len(octets[:limit])

    def read_some(self, limit: int = 65_536) -> bytes | None:
        """Play the next step, or the part of it that fits."""
        if not self._script:
            return None
        step = self._script.popleft()
        if isinstance(step, Exception):
            raise step
        if not step:
            self._script.appendleft(step)  # the end of file does not pass
        elif step[limit:]:
            self._script.appendleft(step[limit:])
        return step[:limit]

    def wait(self, read: bool, write: bool, deadline: Deadline) -> tuple[bool, bool]:  # noqa: ARG002, FBT001 - as its kind
        """Return at once: ready, or ``TimeoutError``."""
        readable = read and bool(self._script)
        writable = write and (self._room != 0 or self.write_error is not None)
        if not (readable or writable):
            raise TimeoutError("the script holds nothing more")
        return readable, writable

    def start_tls(self, context: ssl.SSLContext, deadline: Deadline) -> None:  # noqa: ARG002 - as its kind
        """Count as encrypted from here on, or raise ``tls_error``."""
        if self.tls_error is not None:
            raise self.tls_error
        self.tls_version, self.cipher = "TLSv1.3", "TLS_AES_256_GCM_SHA384"

    def liveness(self) -> Liveness:
        """Tell what ``unsolicited`` says."""
        if self.unsolicited is None:
            return Liveness(alive=not self.closed)
        return Liveness(alive=False, unsolicited=self.unsolicited)

    def quickack(self) -> None:
        """There is nothing to acknowledge."""

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def abort(self) -> None:
        """Note it."""
        self.closed = self.aborted = True

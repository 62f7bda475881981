"""One connection through a proxy: two flows of octets, each delayed, counted, and cut where a test wants it.

One thread moves both flows with non-blocking sockets, so nothing ever waits where it cannot be woken.
"""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 65536
_CONNECT_TIMEOUT = 5.0
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER on, for zero seconds: closing sends a RST."""


class Toward(enum.Enum):
    """A direction through the proxy."""

    SERVER = "client to server"
    CLIENT = "server to client"


class Ending(enum.Enum):
    """How a connection is cut; both sides see the same."""

    FIN = "FIN"
    RST = "RST"


@dataclass(frozen=True, slots=True)
class Cut:
    """Cut a connection when ``after`` octets have passed in one direction; the octets behind them never arrive.

    What the other side says meanwhile is lost as well. ``connection``: only the one of this number, counted from 1.
    """

    toward: Toward
    after: int
    _: KW_ONLY
    ending: Ending = Ending.RST
    connection: int | None = None


@dataclass(slots=True)
class Line:
    """What all links of a proxy share."""

    upstream: tuple[str, int]
    rtt: float
    hearing: bool = True
    """Whether octets are forwarded at all."""


class _Flow:
    """Octets from one socket to the other, in order, each ``delay`` seconds after it came."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float, cut: Cut | None) -> None:
        self.source = source
        self.sink = sink
        self.cut = cut
        self.reading = True
        self.done = False
        self._delay = delay
        self._passed = 0
        self._waiting: deque[tuple[float, bytes]] = deque()

    def read(self) -> None:
        """Take what has come; an empty entry stands for the end of the stream."""
        data = self.source.recv(_CHUNK)
        self._waiting.append((time.monotonic() + self._delay, data))
        self.reading = bool(data)

    def due_in(self) -> float | None:
        """Seconds until there is something to write, ``None`` if nothing is waiting."""
        return max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None

    def write(self) -> bool:
        """Write what is due; returns whether the connection is to be cut now."""
        due, data = self._waiting.popleft()
        if not data:
            self.done = True
            self.sink.shutdown(socket.SHUT_WR)
            return False
        allowed = data if self.cut is None else data[: self.cut.after - self._passed]
        count = self.sink.send(allowed) if allowed else 0
        self._passed += count
        if count < len(data):
            self._waiting.appendleft((due, data[count:]))
        return self.cut is not None and self._passed >= self.cut.after


class Link(threading.Thread):
    """A connection and its counterpart to the upstream."""

    def __init__(self, client: socket.socket, line: Line, cuts: Sequence[Cut]) -> None:
        """Take over the client's socket; ``start()`` does the rest."""
        super().__init__(name="CuttableProxy link", daemon=True)
        self._client = client
        self._server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._line = line
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._closed = False
        by_direction = {cut.toward: cut for cut in reversed(cuts)}
        self._flows = (
            _Flow(self._client, self._server, line.rtt / 2, by_direction.get(Toward.SERVER)),
            _Flow(self._server, self._client, line.rtt / 2, by_direction.get(Toward.CLIENT)),
        )

    def cut(self, ending: Ending) -> None:
        """From another thread: end the connection on both sides, now."""
        self._ending = self._ending or ending
        self.wake()

    def wake(self) -> None:
        """From another thread: have the link look again at what it is to do."""
        with self._lock:
            if not self._closed:
                self._wake_writer.send(b"\0")

    def run(self) -> None:
        """Move octets until both directions have ended or the link is cut."""
        try:
            self._open_upstream()
            while self._ending is None and not all(flow.done for flow in self._flows):
                self._turn()
        except OSError:
            # One side broke: the other is to see a broken connection too.
            self._ending = Ending.RST
        finally:
            self._close(abort=self._ending is Ending.RST)

    def _open_upstream(self) -> None:
        opening = time.monotonic() + self._line.rtt * 1.5
        while self._ending is None and (not self._line.hearing or time.monotonic() < opening):
            self._wait([], [], max(0.0, opening - time.monotonic()) if self._line.hearing else None)
        self._server.settimeout(_CONNECT_TIMEOUT)
        if self._ending is None:
            self._server.connect(self._line.upstream)
        for sock in (self._client, self._server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)

    def _turn(self) -> None:
        """Wait for the next thing to do, and do it."""
        hearing = self._line.hearing
        sources = [flow.source for flow in self._flows if flow.reading]
        due = {flow: flow.due_in() for flow in self._flows if hearing}
        sinks = [flow.sink for flow, seconds in due.items() if seconds == 0.0]
        pauses = [seconds for seconds in due.values() if seconds]
        readable, writable = self._wait(sources, sinks, min(pauses, default=None))
        for flow in self._flows:
            if flow.cut is not None and flow.cut.after == 0 and flow.source in readable:
                self._ending = flow.cut.ending
            elif flow.source in readable:
                flow.read()
            if flow.sink in writable and flow.write() and flow.cut is not None:
                self._ending = flow.cut.ending

    def _wait(
        self, sources: list[socket.socket], sinks: list[socket.socket], seconds: float | None
    ) -> tuple[list[socket.socket], list[socket.socket]]:
        readable, writable, _ = select.select([*sources, self._wake_reader], sinks, [], seconds)
        if self._wake_reader in readable:
            self._wake_reader.recv(_CHUNK)
        return readable, writable

    def _close(self, *, abort: bool) -> None:
        with self._lock:
            self._closed = True
        for sock in (self._client, self._server):
            with contextlib.suppress(OSError):
                if abort:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                else:
                    # First, because closing over unread octets sends a RST and no FIN.
                    sock.shutdown(socket.SHUT_WR)
            sock.close()
        self._wake_reader.close()
        self._wake_writer.close()

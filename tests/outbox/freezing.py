"""A line that stands still after an exact number of octets: to kill whoever waits at its end just then."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal, Self

Side = Literal["client", "server"]
"""Whose octets are counted."""


class FreezingLine:
    """A TCP proxy on the loopback. After so many octets of a side it passes nothing on, either way, until closed."""

    def __init__(self, target: tuple[str, int], side: Side = "client", after: int | None = None) -> None:
        self.frozen = threading.Event()
        self.passed: dict[Side, int] = {"client": 0, "server": 0}
        self._target = target
        self._side = side
        self._after = after
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """Where to connect to."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                self._start(self._pass_on, near, far, "client")
                self._start(self._pass_on, far, near, "server")

    def _pass_on(self, source: socket.socket, sink: socket.socket, side: Side) -> None:
        with suppress(OSError):
            while octets := source.recv(65_536):
                sink.sendall(self._let_through(octets, side))
                if self.frozen.is_set():
                    self._closed.wait()
                    return
            sink.shutdown(socket.SHUT_WR)

    def _let_through(self, octets: bytes, side: Side) -> bytes:
        with self._lock:
            if self.frozen.is_set():
                return b""
            if side == self._side and self._after is not None and self.passed[side] + len(octets) >= self._after:
                octets = octets[: self._after - self.passed[side]]
                self.frozen.set()
            self.passed[side] += len(octets)
            return octets

"""Connect to one of several addresses, the first that answers: RFC 8305's staggered race, with non-blocking sockets.

An address that drops packets (an IPv6 route that leads nowhere, most often) costs ``STAGGER`` seconds, not the budget:
the next one is tried while the first may still answer. A refusal starts the next at once.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import deque
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

from robust_email.smtp.net.readiness import wait_any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.net.resolver import SocketAddress

STAGGER: Final = 0.25
"""Seconds between the starts of two attempts (RFC 8305 section 5)."""


class EveryAddressFailed(Exception):
    """No address could be connected to. ``tried`` holds each with its error, in the order of the attempts."""

    def __init__(self, tried: list[tuple[SocketAddress, OSError]]) -> None:
        """Keep what was tried."""
        super().__init__("; ".join(f"{address}: {error}" for address, error in tried))
        self.tried = tried


def interleave(addresses: Iterable[SocketAddress]) -> list[SocketAddress]:
    """Alternate the families, beginning with the resolver's first choice (RFC 8305 section 4)."""
    families: dict[int, list[SocketAddress]] = {}
    for address in addresses:
        families.setdefault(address.family, []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]


def connect_first(
    addresses: Iterable[SocketAddress], deadline: Deadline, source_address: str | None = None
) -> socket.socket:
    """Return a connected, non-blocking socket to the first address that answers.

    Raises:
        EveryAddressFailed: all were tried; those that were still silent at the deadline with a ``TimeoutError``.
    """
    return _Race(addresses, source_address).run(deadline)


class _Race:
    """The attempts of one call. Whatever ends it, only the winner's socket stays open."""

    def __init__(self, addresses: Iterable[SocketAddress], source_address: str | None) -> None:
        self._waiting = deque(addresses)
        self._source_address = source_address
        self._running: dict[int, tuple[socket.socket, SocketAddress]] = {}
        self._failed: list[tuple[SocketAddress, OSError]] = []

    def run(self, deadline: Deadline) -> socket.socket:
        try:
            while self._waiting or self._running:
                if self._waiting:
                    self._start(self._waiting.popleft())
                if winner := self._winner(deadline.within(STAGGER) if self._waiting else deadline):
                    return winner
                if deadline.expired:
                    break
        finally:
            for sock, _ in self._running.values():
                sock.close()
        silent = [address for _, address in self._running.values()]
        late = TimeoutError(errno.ETIMEDOUT, "no answer to the connection attempt in time")
        raise EveryAddressFailed(self._failed + [(address, late) for address in (*silent, *self._waiting)])

    def _start(self, address: SocketAddress) -> None:
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:  # IPv6 switched off, or no descriptor left
            self._failed.append((address, error))
            return
        descriptor = sock.fileno()
        self._running[descriptor] = sock, address
        try:
            sock.setblocking(False)
            if self._source_address is not None:
                sock.bind((self._source_address, 0))
            with contextlib.suppress(BlockingIOError):
                sock.connect(address.sockaddr)
        except OSError as error:
            del self._running[descriptor]
            sock.close()
            self._failed.append((address, error))

    def _winner(self, until: Deadline) -> socket.socket | None:
        """Wait for the running attempts; a failed one ends the wait, so that the next may start."""
        if not self._running:
            return None
        for descriptor in wait_any((), self._running, until)[1]:
            sock, address = self._running.pop(descriptor)
            if not (code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                return sock
            sock.close()
            self._failed.append((address, _error_of(code)))
        return None


def _error_of(code: int) -> OSError:
    """The exception that ``connect`` itself would have raised: ``OSError`` picks the subclass by the code."""
    return OSError(code, errno.errorcode.get(code, "unknown error"))

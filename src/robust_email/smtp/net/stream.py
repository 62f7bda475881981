"""The stream of a connected socket, plain or TLS, that never blocks past a deadline.

The socket is non-blocking for its whole life, because the verdict on a mail hangs on an exact count: whether its last
octet was handed to the kernel. ``sendall`` hides that number when it fails, and a socket with a time-out waits
where it should only look.

Over TLS the unit is the record: a peer cannot read any octet of a record that did not reach it whole. So one call
writes at most one record, and counts it only when all of it is with the kernel.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING

from robust_email.smtp.net.bytestream import Liveness
from robust_email.smtp.net.readiness import wait_any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robust_email.smtp.net.bytestream import Octets, Writable
    from robust_email.smtp.net.deadline import Deadline

MAX_RECORD = 16_384
"""Octets of plaintext in one TLS record (RFC 8446 5.1)."""
_MAX_BUFFERS = 64
"""Buffers for one ``sendmsg``; every system takes as many."""


class PlaintextBeforeTls(ssl.SSLError):
    """Octets came in the clear where only TLS may follow: what a man in the middle injects (RFC 3207 4, 6)."""


class Stream:
    """A ``ByteStream`` around a connected socket, which it owns from here on.

    ``host`` is the configured name: the one that the certificate must carry (RFC 7817 3).
    """

    def __init__(self, sock: socket.socket, host: str, *, tunnelled: bool = False) -> None:
        """Take the socket over and make it non-blocking; it must be connected. ``tunnelled``: to a proxy."""
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # a socket pair has no Nagle's algorithm to switch off
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._host = host
        self._tunnelled = tunnelled
        self._address = _address_of(sock)
        self._spoke = False
        self._unfinished: bytes | None = None
        self._read_waits_to_write = self._write_waits_to_read = False

    def write_some(self, data: Writable) -> int:
        """Hand octets to the kernel and return how many it took; 0 means it would block.

        When this raises, nothing of ``data`` was taken. Over TLS, what was offered and not taken must be offered
        again before anything else: OpenSSL may have begun to write the record.
        """
        buffers = [data] if isinstance(data, (bytes, bytearray, memoryview)) else data
        if isinstance(self._sock, ssl.SSLSocket):
            return self._write_record(self._sock, buffers)
        try:
            if len(buffers) > 1 and hasattr(self._sock, "sendmsg"):
                return self._sock.sendmsg(buffers[:_MAX_BUFFERS])
            return self._sock.send(buffers[0]) if buffers else 0
        except BlockingIOError:
            return 0

    def _write_record(self, sock: ssl.SSLSocket, buffers: Sequence[Octets]) -> int:
        record = _first_octets(buffers, MAX_RECORD) if self._unfinished is None else self._unfinished
        if not record:
            return 0
        self._write_waits_to_read = False
        try:
            taken = sock.send(record)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as want:
            self._write_waits_to_read = isinstance(want, ssl.SSLWantReadError)
            taken = 0
        # gevent returns 0 where the standard library raises.
        self._unfinished = None if taken else bytes(record)
        return taken

    def read_some(self, limit: int = 65_536) -> bytes | None:
        """Return at most ``limit`` octets that are here, ``None`` if there are none now, ``b""`` at the end of file."""
        self._read_waits_to_write = False
        try:
            octets = self._sock.recv(limit)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLWantWriteError:
            self._read_waits_to_write = True
            return None
        self._spoke = True
        return octets

    def wait(self, read: bool, write: bool, deadline: Deadline) -> tuple[bool, bool]:  # noqa: FBT001 - a pair
        """Wait until one of what is asked for is worth trying; return which. ``TimeoutError`` at the deadline.

        Over TLS either side may need the socket's other direction first; ready then means ready to go on.
        """
        if read and self._pending():
            return True, False
        descriptor = self._sock.fileno()
        to_read = (read and not self._read_waits_to_write) or (write and self._write_waits_to_read)
        to_write = (write and not self._write_waits_to_read) or (read and self._read_waits_to_write)
        readable, writable = wait_any({descriptor} if to_read else (), {descriptor} if to_write else (), deadline)
        if not (readable or writable):
            raise TimeoutError(f"no octet passed to or from {self._address} in time")
        return (
            read and bool(writable if self._read_waits_to_write else readable),
            write and bool(readable if self._write_waits_to_read else writable),
        )

    def start_tls(self, context: ssl.SSLContext, deadline: Deadline) -> None:
        """Negotiate TLS and verify the certificate against the host. ``TimeoutError`` at the deadline.

        After a dialogue in the clear, octets that are here already are an injection: ``PlaintextBeforeTls``. The
        caller looks into its own buffer in the same way. After any failure the stream can only be aborted.
        """
        # This look comes first in any case: ``wrap_socket`` leaks the descriptor of a connection that was reset.
        if self._readable_now() and self._spoke:
            raise PlaintextBeforeTls(ssl.SSLErrorNumber.SSL_ERROR_SSL, "octets in the clear before the TLS handshake")
        # wrap_socket would leave its half-made socket unclosed for a connection that was reset meanwhile.
        self._sock.getpeername()
        # A name may be written with the root's dot; certificates and SNI never have it (RFC 6066 3).
        sock = context.wrap_socket(self._sock, server_hostname=self._host.rstrip("."), do_handshake_on_connect=False)
        self._sock = sock
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                self.wait(read=True, write=False, deadline=deadline)
            except ssl.SSLWantWriteError:
                self.wait(read=False, write=True, deadline=deadline)
            else:
                return

    def liveness(self) -> Liveness:
        """Look whether an idle stream is still open and silent, without a round trip; its octets are used up.

        A raw look at the socket is not enough: TLS 1.3 session tickets make a healthy one readable.
        """
        try:
            octets = self.read_some()
        except OSError:
            return Liveness(alive=False)
        return Liveness(alive=octets is None, unsolicited=octets or b"")

    def quickack(self) -> None:
        """Acknowledge the next octets at once (Linux): servers that write replies in pieces wait for it (Nagle)."""
        if hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """Say goodbye over TLS (RFC 8446 6.1) without waiting for an answer, and close. Never raises.

        Not for a stream inherited over a fork: its close_notify would end the parent's session. ``abort`` it.
        """
        if isinstance(self._sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()
        self.abort()

    def abort(self) -> None:
        """Close the descriptor and write nothing. Never raises."""
        with contextlib.suppress(OSError):
            self._sock.close()

    @property
    def peer(self) -> str:
        """``address:port`` of the other end, empty where it has none."""
        return self._address

    @property
    def peer_is_loopback(self) -> bool:
        """Whether the other end is this machine, so that no network carries what is written."""
        if self._tunnelled:  # what a proxy on this machine is given goes on to another
            return False
        host = self._address.rpartition(":")[0].strip("[]").partition("%")[0]
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def own_address(self) -> str:
        """Our end's IP address as the socket knows it, without a port; empty where it has none."""
        try:
            name = self._sock.getsockname()
        except OSError:
            return ""
        return str(name[0]).partition("%")[0] if isinstance(name, tuple) else ""

    @property
    def tls_version(self) -> str | None:
        """``TLSv1.3`` and the like, ``None`` in the clear."""
        return self._sock.version() if isinstance(self._sock, ssl.SSLSocket) else None

    @property
    def cipher(self) -> str | None:
        """OpenSSL's name of the cipher suite, ``None`` in the clear."""
        suite = self._sock.cipher() if isinstance(self._sock, ssl.SSLSocket) else None
        return suite[0] if suite else None

    @property
    def certificate_not_after(self) -> dt.datetime | None:
        """When the server's certificate expires (UTC), ``None`` in the clear."""
        certificate = self._sock.getpeercert() if isinstance(self._sock, ssl.SSLSocket) else None
        if not certificate:
            return None
        seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)

    @property
    def certificate_chain(self) -> tuple[bytes, ...]:
        """The certificates that the server sent, its own first, each as DER (X.690); empty in the clear."""
        if not isinstance(self._sock, ssl.SSLSocket):
            return ()
        if hasattr(self._sock, "get_unverified_chain"):  # public from Python 3.13 on
            return tuple(self._sock.get_unverified_chain())
        leaf = self._sock.getpeercert(binary_form=True)
        return (leaf,) if leaf else ()

    def _pending(self) -> bool:
        """Whether OpenSSL holds decrypted octets, of which the kernel knows nothing."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def _readable_now(self) -> bool:
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False


def _first_octets(buffers: Sequence[Octets], limit: int) -> Octets:
    """The first ``limit`` octets of the buffers: a view of the first if it suffices, else joined."""
    if len(buffers) == 1 or (buffers and len(buffers[0]) >= limit):
        return memoryview(buffers[0])[:limit]
    joined = bytearray()
    for buffer in buffers:
        joined += memoryview(buffer)[: limit - len(joined)]
        if len(joined) == limit:
            break
    return bytes(joined)


def _address_of(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return ""
    if not isinstance(name, tuple):
        return ""
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

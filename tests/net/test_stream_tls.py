"""The same over TLS, and threats S12, S13 and S18 on the way there."""

from __future__ import annotations

import contextlib
import datetime as dt
import select
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.stream import MAX_RECORD, PlaintextBeforeTls, Stream
from tests.net.peers import read, read_exactly, reset, write_all

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from robust_email.testing.certs import CertificateAuthority
    from tests.net.peers import Behaviour, Peer

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def server_context(request: pytest.FixtureRequest, certs: CertificateAuthority) -> ssl.SSLContext:
    """Give the context of a server that speaks one version only."""
    return certs.server_context(minimum=request.param, maximum=request.param)


def encrypted(peer: Peer, certs: CertificateAuthority, deadline: Deadline) -> Stream:
    """Connect, negotiate, and return the stream."""
    stream = Stream(peer.connect(), "localhost")
    stream.start_tls(certs.client_context(), deadline)
    return stream


def test_octets_pass_both_ways(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, server_context: ssl.SSLContext, soon: Deadline
) -> None:
    """The stream tells what was negotiated, and carries octets as it did in the clear."""

    def echo(connection: socket.socket) -> None:
        with server_context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(read_exactly(tls, 6))
            assert tls.recv(1) == b""

    stream = encrypted(serve(echo), certs, soon)
    assert stream.tls_version == server_context.minimum_version.name.replace("_", ".")
    assert stream.cipher
    assert stream.certificate_not_after is not None
    assert stream.certificate_not_after > dt.datetime.now(dt.UTC)
    write_all(stream, b"NOOP\r\n", soon)
    assert read(stream, soon) == b"NOOP\r\n"
    stream.close()


def test_decrypted_octets_are_readable_though_the_kernel_has_none(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, server_context: ssl.SSLContext, soon: Deadline
) -> None:
    """One record read in two pieces: the second piece is inside OpenSSL, and waiting for the socket would hang."""

    def one_record(connection: socket.socket) -> None:
        with server_context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"250-a\r\n250 b\r\n")
            tls.recv(1)

    stream = encrypted(serve(one_record), certs, soon)
    while (first := stream.read_some(7)) is None:
        stream.wait(read=True, write=False, deadline=soon)
    assert first == b"250-a\r\n"
    assert stream.wait(read=True, write=True, deadline=soon) == (True, False)
    assert stream.read_some(7) == b"250 b\r\n"
    stream.close()


def test_only_whole_records_are_counted(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, server_context: ssl.SSLContext, soon: Deadline
) -> None:
    """The peer reads exactly what was counted, though OpenSSL had begun one record more when the kernel was full."""
    full = threading.Event()
    received = bytearray()

    def read_late(connection: socket.socket) -> None:
        with server_context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"220")
            full.wait(10.0)
            with contextlib.suppress(OSError):
                while octets := tls.recv(65_536):
                    received.extend(octets)

    peer = serve(read_late)
    stream = encrypted(peer, certs, soon)
    assert read(stream, soon) == b"220"  # and the tickets before it: unread, they would turn the end into an RST
    written = 0
    while taken := stream.write_some(b"x" * 100_000):
        assert taken == MAX_RECORD
        written += taken
    stream.abort()
    full.set()
    peer._thread.join()
    assert written > MAX_RECORD
    assert len(received) == written


def test_a_large_body_survives_a_peer_that_reads_late(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, server_context: ssl.SSLContext, soon: Deadline
) -> None:
    """Records that the kernel took in part are finished later: nothing is lost, doubled or changed."""
    body = bytes(range(256)) * 40_000
    full = threading.Event()
    received = bytearray()

    def read_late(connection: socket.socket) -> None:
        with server_context.wrap_socket(connection, server_side=True) as tls:
            full.wait(10.0)
            received.extend(read_exactly(tls, len(body)))
            tls.sendall(b"250 ok\r\n")

    stream = encrypted(serve(read_late), certs, soon)
    rest = memoryview(body)
    while taken := stream.write_some([rest[:10], rest[10:]]):
        rest = rest[taken:]
    full.set()
    write_all(stream, bytes(rest), soon)
    assert read(stream, soon) == b"250 ok\r\n"
    assert received == body
    stream.close()


def test_a_record_begun_is_counted_by_itself_when_more_is_offered(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, server_context: ssl.SSLContext, soon: Deadline
) -> None:
    """OpenSSL would finish the old record and begin a new one in one call, and could not say how far it came."""
    full = threading.Event()

    def read_late(connection: socket.socket) -> None:
        with server_context.wrap_socket(connection, server_side=True) as tls:
            full.wait(10.0)
            while tls.recv(65_536):
                pass

    stream = encrypted(serve(read_late), certs, soon)
    while stream.write_some(b"x" * 9000):
        pass
    full.set()
    taken = 0
    while not taken:
        stream.wait(read=False, write=True, deadline=soon)
        taken = stream.write_some([b"x" * 9000, b"y" * 1000])
    assert taken == 9000
    stream.close()


def test_a_small_buffer_and_a_large_one_share_a_record(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, soon: Deadline
) -> None:
    """Commands ride in the record of the body's begin; a record is never more than the protocol allows."""

    def swallow(connection: socket.socket) -> None:
        with certs.server_context().wrap_socket(connection, server_side=True) as tls:
            while tls.recv(65_536):
                pass

    stream = encrypted(serve(swallow), certs, soon)
    assert stream.write_some([b"MAIL\r\n", b"x" * 100_000]) == MAX_RECORD
    assert stream.write_some([b"RSET\r\n", b"QUIT\r\n"]) == 12
    assert stream.write_some([]) == 0
    stream.close()


def test_session_tickets_do_not_count_as_death(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, soon: Deadline
) -> None:
    """TLS 1.3 tickets make the socket readable though the server said nothing (wire-limit: a raw poll is wrong)."""

    def idle(connection: socket.socket) -> None:
        with certs.server_context(minimum=ssl.TLSVersion.TLSv1_3).wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)

    stream = encrypted(serve(idle), certs, soon)
    assert select.select([stream._sock], [], [], 5.0)[0], "the tickets have to be there for this to test anything"
    assert stream.liveness().alive
    assert stream.liveness().alive
    stream.close()


def test_a_421_over_tls_is_death_with_a_reason(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, server_context: ssl.SSLContext, soon: Deadline
) -> None:
    """The server's farewell is decrypted and kept."""

    def leave(connection: socket.socket) -> None:
        with server_context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"421 4.4.2 bye\r\n")

    peer = serve(leave)
    stream = encrypted(peer, certs, soon)
    peer._thread.join()
    found = stream.liveness()
    assert (found.alive, found.unsolicited) == (False, b"421 4.4.2 bye\r\n")
    assert read(stream, soon) == b""
    stream.close()


def test_s12_a_server_that_closes_in_the_handshake(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, soon: Deadline
) -> None:
    """S12: a failed handshake raises; there is no stream in the clear to go on with."""
    stream = Stream(serve(lambda connection: connection.close()).connect(), "localhost")
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        stream.start_tls(certs.client_context(), soon)
    stream.abort()


def test_s12_a_server_that_resets_in_the_handshake(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, soon: Deadline
) -> None:
    """S12: the same with an RST."""
    connected = threading.Event()

    def reset_then(connection: socket.socket) -> None:
        connected.wait(10.0)
        reset(connection)

    stream = Stream(serve(reset_then).connect(), "localhost")
    connected.set()
    select.select([stream._sock], [], [], 5.0)
    with pytest.raises(ConnectionResetError):
        stream.start_tls(certs.client_context(), soon)
    stream.abort()


def test_s12_s18_a_silent_server_in_the_handshake_costs_the_deadline(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority
) -> None:
    """S12, S18: the handshake waits as long as the deadline says, and no longer."""
    ended = threading.Event()

    def hang(_: socket.socket) -> None:
        ended.wait(10.0)

    stream = Stream(serve(hang).connect(), "localhost")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        stream.start_tls(certs.client_context(), Deadline.after(0.2))
    assert 0.2 <= time.monotonic() - began < 1.0
    ended.set()
    stream.abort()


def test_s13_octets_injected_behind_the_reply_end_the_session(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, soon: Deadline
) -> None:
    """S13: what came in the clear after the 220 is never taken for the encrypted server's word (RFC 3207 6)."""
    injected = threading.Event()

    def inject(connection: socket.socket) -> None:
        connection.sendall(b"220 go ahead\r\n")
        read_exactly(connection, 1)
        connection.sendall(b"250-INJECTED\r\n250 AUTH PLAIN\r\n")
        injected.set()
        with contextlib.suppress(OSError):
            connection.recv(65_536)

    stream = Stream(serve(inject).connect(), "localhost")
    assert read(stream, soon) == b"220 go ahead\r\n"
    write_all(stream, b"x", soon)
    injected.wait(10.0)
    select.select([stream._sock], [], [], 5.0)
    with pytest.raises(PlaintextBeforeTls):
        stream.start_tls(certs.client_context(), soon)
    stream.abort()


def test_starttls_after_a_dialogue_in_the_clear(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, soon: Deadline
) -> None:
    """The ordinary STARTTLS: nothing injected, and the stream goes on encrypted."""

    def upgrade(connection: socket.socket) -> None:
        connection.sendall(b"220 go ahead\r\n")
        with certs.server_context().wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"250 hi\r\n")
            tls.recv(1)

    stream = Stream(serve(upgrade).connect(), "localhost")
    assert read(stream, soon) == b"220 go ahead\r\n"
    stream.start_tls(certs.client_context(), soon)
    assert read(stream, soon) == b"250 hi\r\n"
    stream.close()


def test_abort_writes_nothing_and_close_says_goodbye(
    serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, soon: Deadline
) -> None:
    """A forked child aborts what it inherited: no close_notify may reach the parent's server."""
    for end, goodbye in (("close", True), ("abort", False)):
        seen: list[bool] = []

        def watch(connection: socket.socket, seen: list[bool] = seen) -> None:
            context = certs.server_context()
            context.num_tickets = 0  # a ticket nobody reads makes of the client's end a reset
            with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as tls:
                try:
                    seen.append(tls.recv(1) == b"")
                except ssl.SSLEOFError:
                    seen.append(False)

        peer = serve(watch)
        stream = encrypted(peer, certs, soon)
        getattr(stream, end)()
        peer._thread.join()
        assert seen == [goodbye]

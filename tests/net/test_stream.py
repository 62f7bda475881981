"""A stream in the clear: exact counts, exact deadlines, and who is still there."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.readiness import wait_any
from robust_email.smtp.net.stream import Stream
from robust_email.testing.clock import FakeClock
from tests.net.peers import read, read_exactly, reset, write_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.smtp.net.bytestream import ByteStream
    from tests.net.peers import Behaviour, Peer

Pair = tuple[Stream, socket.socket]


def fill(stream: Stream) -> int:
    """Write until the kernel takes no more; return how many octets it took."""
    written = 0
    while taken := stream.write_some(b"x" * 65_536):
        written += taken
    return written


def test_a_stream_is_a_byte_stream(pair: Pair) -> None:
    """The protocol that sessions are written against is the stream's (mypy checks the rest of it)."""
    stream: ByteStream = pair[0]
    assert stream.peer.startswith("127.0.0.1:")
    assert stream.peer_is_loopback
    assert stream.own_address == "127.0.0.1"
    assert (stream.tls_version, stream.cipher, stream.certificate_not_after) == (None, None, None)


def test_nothing_there_is_none_and_the_end_is_empty(pair: Pair, soon: Deadline) -> None:
    """``None``, octets and ``b""`` are three different answers, and none of them waits."""
    stream, peer = pair
    assert stream.read_some() is None
    peer.sendall(b"220 hi\r\n")
    assert read(stream, soon) == b"220 hi\r\n"
    peer.close()
    assert read(stream, soon) == b""


def test_read_some_takes_no_more_than_its_limit(pair: Pair, soon: Deadline) -> None:
    """A caller can bound what it holds in memory."""
    stream, peer = pair
    peer.sendall(b"abcdef")
    stream.wait(read=True, write=False, deadline=soon)
    assert (stream.read_some(4), stream.read_some(4), stream.read_some(4)) == (b"abcd", b"ef", None)


def test_the_count_of_octets_is_exact_when_the_peer_stops_reading(pair: Pair) -> None:
    """What was counted is what arrives, octet by octet, and 0 says that no more fits."""
    stream, peer = pair
    written = fill(stream)
    assert stream.write_some(b"y") == 0
    stream.abort()
    assert len(read_exactly(peer, written + 1)) == written


def test_several_buffers_leave_in_order_and_are_counted_together(pair: Pair) -> None:
    """Commands and body go out in one call, without being copied together first."""
    stream, peer = pair
    assert stream.write_some([b"RSET\r\n", memoryview(b"MAIL\r\n"), bytearray(b"BDAT")]) == 16
    assert read_exactly(peer, 16) == b"RSET\r\nMAIL\r\nBDAT"
    assert stream.write_some([]) == 0


def test_more_buffers_than_one_system_call_takes_are_taken_in_part(pair: Pair) -> None:
    """A thousand RCPT lines are no error of the operating system's, but a partial write."""
    stream, peer = pair
    taken = stream.write_some([b"ab"] * 5000)
    assert 0 < taken < 10_000
    assert read_exactly(peer, taken) == b"ab" * (taken // 2)


def test_wait_tells_which_side_is_ready(pair: Pair, soon: Deadline) -> None:
    """A pipelining session learns that it can read while it cannot write."""
    stream, peer = pair
    assert stream.wait(read=True, write=True, deadline=soon) == (False, True)
    fill(stream)
    peer.sendall(b"250 ok\r\n")
    assert stream.wait(read=True, write=True, deadline=soon) == (True, False)


def test_wait_ends_at_the_deadline(pair: Pair) -> None:
    """A silent peer costs no more than the deadline."""
    stream, _ = pair
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        stream.wait(read=True, write=False, deadline=Deadline.after(0.1))
    assert 0.1 <= time.monotonic() - began < 1.0


def test_a_wait_without_deadline_ends_with_the_octets(pair: Pair) -> None:
    """``Deadline.never`` reaches the kernel as no time-out, and the octets still wake it."""
    stream, peer = pair
    timer = threading.Timer(0.05, peer.sendall, [b"x"])
    timer.start()
    assert stream.wait(read=True, write=False, deadline=Deadline.never()) == (True, False)
    timer.join()


def test_what_arrived_before_an_expired_deadline_is_still_seen(pair: Pair) -> None:
    """A process that was stopped for a while does not turn a 250 that is here into a mail in doubt."""
    stream, peer = pair
    peer.sendall(b"250 ok\r\n")
    select.select([stream._sock], [], [], 5.0)
    assert stream.wait(read=True, write=False, deadline=Deadline.after(0.0, FakeClock())) == (True, False)


def test_s18_a_dripping_peer_does_not_stretch_the_deadline(serve: Callable[[Behaviour], Peer]) -> None:
    """S18: an octet every 20 ms keeps every time-out per read alive, and the deadline ends it all the same."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(0.02):
                connection.sendall(b"2")

    peer = serve(drip)
    stream = Stream(peer.connect(), "localhost")
    began, octets = time.monotonic(), 0
    deadline = Deadline.after(0.4)
    with pytest.raises(TimeoutError):
        while True:
            octets += len(read(stream, deadline))
    elapsed = time.monotonic() - began
    ended.set()
    stream.abort()
    assert octets > 1
    assert elapsed < 0.4 * 1.2 + 0.1


def test_a_reset_is_raised_as_what_it_is(pair: Pair, soon: Deadline) -> None:
    """RST is no end of file: the difference is in the log."""
    stream, peer = pair
    reset(peer)
    with pytest.raises(ConnectionResetError):
        read(stream, soon)


def test_a_failed_write_took_nothing(pair: Pair, soon: Deadline) -> None:
    """After a reset, writing raises instead of counting octets that nobody has."""
    stream, peer = pair
    reset(peer)
    stream.wait(read=True, write=False, deadline=soon)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        stream.write_some(b"MAIL FROM:<>\r\n")


def test_a_half_open_connection_still_takes_what_is_written(pair: Pair, soon: Deadline) -> None:
    """The peer ended its direction only: the end of file is seen, and writing goes on."""
    stream, peer = pair
    peer.shutdown(socket.SHUT_WR)
    assert read(stream, soon) == b""
    write_all(stream, b"QUIT\r\n", soon)
    assert read_exactly(peer, 6) == b"QUIT\r\n"


def test_an_idle_healthy_stream_is_alive(pair: Pair) -> None:
    """The look costs nothing and changes nothing."""
    stream, peer = pair
    found = stream.liveness()
    assert (found.alive, found.unsolicited) == (True, b"")
    peer.sendall(b"x")


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 timeout exceeded\r\n"])
def test_a_closed_stream_is_dead_and_says_why(pair: Pair, soon: Deadline, farewell: bytes) -> None:
    """The end of file is death, and a 421 before it is kept as the reason."""
    stream, peer = pair
    peer.sendall(farewell)
    peer.close()
    stream.wait(read=True, write=False, deadline=soon)
    found = stream.liveness()
    assert (found.alive, found.unsolicited) == (False, farewell)


def test_a_reset_stream_is_dead(pair: Pair, soon: Deadline) -> None:
    """A connection that a firewall reset while it was idle is not offered again."""
    stream, peer = pair
    reset(peer)
    stream.wait(read=True, write=False, deadline=soon)
    assert not stream.liveness().alive


def test_closing_twice_is_harmless(pair: Pair) -> None:
    """Neither ``close`` nor ``abort`` raises, in whatever order; a closed stream is dead."""
    stream, _ = pair
    stream.quickack()
    stream.close()
    stream.abort()
    stream.close()
    assert not stream.liveness().alive


def test_nagle_is_off_and_the_socket_never_blocks(pair: Pair) -> None:
    """Small commands leave at once, and no call can wait behind the deadline's back."""
    sock = pair[0]._sock
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.gettimeout() == 0.0


def test_a_stream_without_internet_addresses_has_no_peer_and_is_not_loopback() -> None:
    """A socket pair works, and nothing is claimed about where it leads."""
    ours, theirs = socket.socketpair()
    stream = Stream(ours, "localhost")
    with theirs:
        assert (stream.peer, stream.peer_is_loopback, stream.own_address) == ("", False, "")
        stream.close()


def test_a_descriptor_in_error_is_ready_for_whoever_waits() -> None:
    """Waiting for a closed descriptor ends at once: using it then raises what happened."""
    sock = socket.socket()
    descriptor = sock.fileno()
    sock.close()
    assert wait_any({descriptor}, {descriptor}, Deadline.after(5.0)) == ({descriptor}, {descriptor})


def test_without_poll_select_does_the_same(pair: Pair, soon: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no ``poll`` (Windows, some patched environments), waiting still works."""
    monkeypatch.delattr(select, "poll")
    stream, peer = pair
    assert stream.wait(read=True, write=True, deadline=soon) == (False, True)
    peer.sendall(b"x")
    assert stream.wait(read=True, write=False, deadline=Deadline.never()) == (True, False)
    stream.read_some()
    with pytest.raises(TimeoutError):
        stream.wait(read=True, write=False, deadline=Deadline.after(0.01))

"""The stream without a socket keeps the promises that sessions are tested against."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp.net.memory import MemoryStream

if TYPE_CHECKING:
    from robust_email.smtp.net.bytestream import ByteStream
    from robust_email.smtp.net.deadline import Deadline


def test_the_script_is_read_step_by_step(soon: Deadline) -> None:
    """Pieces come as they were cut; after the last one the server is silent."""
    stream: ByteStream = MemoryStream([b"220-a\r\n22", b"0 b\r\n"])
    assert (stream.read_some(3), stream.read_some(), stream.read_some()) == (b"220", b"-a\r\n22", b"0 b\r\n")
    assert stream.read_some() is None
    with pytest.raises(TimeoutError):
        stream.wait(read=True, write=False, deadline=soon)


def test_an_exception_is_raised_where_it_stands_and_the_end_of_file_stays() -> None:
    """Both ends of a connection can be told apart."""
    stream = MemoryStream([b"a", ConnectionResetError()])
    assert stream.read_some() == b"a"
    with pytest.raises(ConnectionResetError):
        stream.read_some()
    stream.feed(b"")
    assert (stream.read_some(), stream.read_some()) == (b"", b"")


def test_writing_is_limited_as_a_kernel_limits_it(soon: Deadline) -> None:
    """A limit per call, a limit in all, and an error behind it."""
    stream = MemoryStream(write_limit=4, room=6)
    assert (stream.write_some([b"ab", b"cdef"]), stream.write_some(b"efgh"), stream.write_some(b"gh")) == (4, 2, 0)
    assert stream.written == b"abcdef"
    with pytest.raises(TimeoutError):
        stream.wait(read=False, write=True, deadline=soon)
    stream.write_error = BrokenPipeError()
    assert stream.wait(read=False, write=True, deadline=soon) == (False, True)
    with pytest.raises(BrokenPipeError):
        stream.write_some(b"gh")


def test_tls_is_a_word_only(soon: Deadline) -> None:
    """``start_tls`` changes what the stream says of itself, or fails as told."""
    stream = MemoryStream(peer="192.0.2.1:25")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert (stream.peer, stream.tls_version) == ("192.0.2.1:25", None)
    stream.start_tls(context, soon)
    assert (stream.tls_version, stream.cipher) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    stream.tls_error = ssl.SSLCertVerificationError()
    with pytest.raises(ssl.SSLCertVerificationError):
        stream.start_tls(context, soon)


def test_liveness_is_what_the_test_says() -> None:
    """Alive, left with a word, left without one, closed by us."""
    stream = MemoryStream()
    stream.quickack()
    assert stream.liveness().alive
    stream.unsolicited = b"421 bye\r\n"
    assert (stream.liveness().alive, stream.liveness().unsolicited) == (False, b"421 bye\r\n")
    stream.unsolicited = None
    stream.close()
    assert (stream.closed, stream.aborted, stream.liveness().alive) == (True, False, False)
    stream.abort()
    assert stream.aborted

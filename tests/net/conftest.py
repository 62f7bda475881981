"""What the tests of ``net`` share: an authority, a deadline that no healthy test reaches, and peers on real sockets."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.stream import Stream
from robust_email.testing.certs import CertificateAuthority
from tests.net.peers import Peer, connected_pair

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tests.net.peers import Behaviour


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Give a throw-away authority."""
    return CertificateAuthority(tmp_path_factory.mktemp("net-certs"))


@pytest.fixture
def soon() -> Deadline:
    """Give a deadline far enough for a busy machine, near enough to end a test that hangs."""
    return Deadline.after(10.0)


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], Peer]]:
    """Give a factory of peers; what went wrong in their threads fails the test."""
    with contextlib.ExitStack() as stack:
        yield lambda behave: stack.enter_context(Peer(behave))


@pytest.fixture
def pair() -> Iterator[tuple[Stream, socket.socket]]:
    """Give a stream over TCP and the other end's plain, blocking socket."""
    ours, theirs = connected_pair()
    stream = Stream(ours, "localhost")
    with theirs:
        yield stream, theirs
        stream.abort()

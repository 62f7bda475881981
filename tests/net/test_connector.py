"""Connecting: several addresses, black holes, interruptions, TLS from the first octet, and the words for failing."""

from __future__ import annotations

import contextlib
import errno
import gc
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.config import DnsPolicy, SmtpConfig, Timeouts, TlsMode, TlsPolicy
from robust_email.smtp.errors import ConfigurationError
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.net.connector import Connector
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.race import STAGGER, EveryAddressFailed, connect_first, interleave
from robust_email.smtp.net.resolver import Resolver, SocketAddress
from robust_email.smtp.phases import Phase
from robust_email.testing.clock import FakeClock
from tests.net.peers import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from robust_email.testing.certs import CertificateAuthority
    from tests.net.peers import Behaviour, Peer

V4, V6 = socket.AF_INET, socket.AF_INET6


def dns(*addresses: tuple[str, int]) -> Resolver:
    """Make a resolver that gives these addresses for every name."""

    def look_up(host: str, port: int, *, type: int) -> Any:  # noqa: A002, ANN401 - as getaddrinfo
        return [(V6 if ":" in address else V4, type, 6, "", (address, number)) for address, number in addresses]

    return Resolver(getaddrinfo=look_up)


def connector(*addresses: tuple[str, int], source: str | None = None) -> Connector:
    """Make a connector to a host of these addresses."""
    return Connector(SmtpConfig("mx.test", 587, source_address=source), resolver=dns(*addresses))


@contextlib.contextmanager
def black_hole(family: int, address: str) -> Iterator[int]:
    """Give a port whose backlog is full, so that SYNs are dropped as by a route that leads nowhere."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(64):
            filler = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            filler.settimeout(0.05)
            try:
                filler.connect((address, port))
            except TimeoutError:
                break
        else:
            pytest.skip("this system's backlog never fills")
        yield port


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Give a port on 127.0.0.1 that refuses: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def greeter(serve: Callable[[Behaviour], Peer]) -> Peer:
    """Give a peer that greets and waits for the end."""

    def greet(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"220 hi\r\n")
            connection.recv(1)

    return serve(greet)


def test_a_stream_to_the_configured_host(greeter: Peer, soon: Deadline) -> None:
    """The plain case: connected, non-blocking, in the clear."""
    stream = connector(("127.0.0.1", greeter.port)).connect(soon)
    assert stream.peer == f"127.0.0.1:{greeter.port}"
    assert read(stream, soon) == b"220 hi\r\n"
    stream.close()


def test_the_opening_time_out_is_the_default_deadline(greeter: Peer) -> None:
    """Without a deadline the configuration's own holds."""
    stream = connector(("127.0.0.1", greeter.port)).connect()
    stream.close()


def test_a_refusing_address_costs_nothing(greeter: Peer, unused_port: int, soon: Deadline) -> None:
    """The next address is tried at once."""
    began = time.monotonic()
    stream = connector(("127.0.0.1", unused_port), ("127.0.0.1", greeter.port)).connect(soon)
    assert time.monotonic() - began < STAGGER
    stream.close()


def test_a_black_hole_of_an_ipv6_costs_the_stagger_only(greeter: Peer) -> None:
    """An IPv6 route that leads nowhere does not eat the budget of the IPv4 that answers."""
    with black_hole(V6, "::1") as port:
        began = time.monotonic()
        stream = connector(("::1", port), ("127.0.0.1", greeter.port)).connect(Deadline.after(5.0))
        elapsed = time.monotonic() - began
    assert stream.peer == f"127.0.0.1:{greeter.port}"
    stream.close()
    assert STAGGER <= elapsed < STAGGER + 0.5


def test_black_holes_alone_cost_the_deadline() -> None:
    """Nobody answers: TIMEOUT, in time, with every address in the text."""
    with black_hole(V4, "127.0.0.1") as port:
        began = time.monotonic()
        with pytest.raises(SessionFailure, match=rf"mx\.test:587: no answer.*127\.0\.0\.1:{port}") as caught:
            connector(("127.0.0.1", port)).connect(Deadline.after(0.6))
        elapsed = time.monotonic() - began
    assert 0.6 <= elapsed < 0.6 * 1.2
    assert (caught.value.failure.kind, caught.value.failure.phase) == (FailureKind.TIMEOUT, Phase.CONNECT)
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_a_refusal_is_told_as_one(unused_port: int, soon: Deadline) -> None:
    """With the socket's error as the cause, and its number kept."""
    with pytest.raises(SessionFailure, match="EMAIL_PORT") as caught:
        connector(("127.0.0.1", unused_port)).connect(soon)
    assert (caught.value.failure.kind, caught.value.failure.phase) == (FailureKind.CONNECTION_REFUSED, Phase.CONNECT)
    assert caught.value.failure.errno == errno.ECONNREFUSED
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_of_several_failures_the_most_telling_is_reported(unused_port: int, soon: Deadline) -> None:
    """That there is no way to one address says nothing of the relay; the refusal does. Both are named."""
    with pytest.raises(SessionFailure) as caught:
        connector(("127.0.0.1", unused_port), ("255.255.255.255", 9)).connect(soon)
    assert caught.value.failure.kind is FailureKind.CONNECTION_REFUSED
    assert f"127.0.0.1:{unused_port}" in caught.value.failure.text
    assert "255.255.255.255:9" in caught.value.failure.text


def test_no_descriptor_is_left_behind(unused_port: int) -> None:
    """Losers and failures are closed (a ResourceWarning would be an error here)."""
    with black_hole(V4, "127.0.0.1") as port, pytest.raises(SessionFailure):
        connector(("127.0.0.1", port), ("127.0.0.1", unused_port)).connect(Deadline.after(0.05))
    gc.collect()


class Interrupted(BaseException):
    """What a worker's soft time limit, or Ctrl-C, raises anywhere."""


class InterruptingClock:
    """Real time, until the given number of looks at it; then the interruption."""

    def __init__(self, looks: int) -> None:
        """Count down from ``looks``."""
        self.left = looks

    def __call__(self) -> float:
        """Tell the time."""
        self.left -= 1
        if self.left < 0:
            raise Interrupted
        return time.monotonic()


@pytest.mark.parametrize("looks", range(1, 12))
def test_an_interruption_leaves_nothing_open(looks: int, greeter: Peer, certs: CertificateAuthority) -> None:
    """Wherever it strikes, in the race or in the handshake, the sockets are closed and it goes on its way."""
    tls = TlsPolicy(TlsMode.IMPLICIT, cafile=str(certs.ca_file))
    with black_hole(V4, "127.0.0.1") as port:
        resolver = dns(("127.0.0.1", port), ("127.0.0.1", greeter.port))
        under_test = Connector(SmtpConfig("mx.test", tls=tls), resolver=resolver)
        with pytest.raises((Interrupted, SessionFailure)):
            under_test.connect(Deadline(time.monotonic() + 5.0, InterruptingClock(looks)))
    gc.collect()
    with contextlib.suppress(OSError):
        greeter.connect().close()


def test_a_family_that_this_machine_lacks(greeter: Peer, soon: Deadline) -> None:
    """Where IPv6 is compiled out or switched off, the next address is tried."""
    unknown = SocketAddress(99, ("::1", greeter.port))
    connect_first([unknown, SocketAddress(V4, ("127.0.0.1", greeter.port))], soon).close()
    with pytest.raises(EveryAddressFailed, match="not supported"):
        connect_first([unknown], soon)


def test_the_source_address_is_bound(serve: Callable[[Behaviour], Peer], soon: Deadline) -> None:
    """A machine with several addresses leaves by the one that the relay knows; the other family is not tried."""
    seen: list[str] = []
    peer = serve(lambda connection: seen.append(connection.getpeername()[0]))
    stream = connector(("::1", peer.port), ("127.0.0.1", peer.port), source="127.0.0.9").connect(soon)
    assert read(stream, soon) == b""
    stream.close()
    assert seen == ["127.0.0.9"]


def test_a_source_address_of_somebody_else(greeter: Peer, soon: Deadline) -> None:
    """An address that is not this machine's fails in words, before any packet."""
    with pytest.raises(SessionFailure, match=r"no way to it from here.*assign") as caught:
        connector(("127.0.0.1", greeter.port), source="192.0.2.1").connect(soon)
    assert caught.value.failure.kind is FailureKind.UNREACHABLE
    greeter.connect().close()


def test_a_source_address_on_an_interface_that_is_not_here(greeter: Peer, soon: Deadline) -> None:
    """A wrong scope is found by ``getaddrinfo``, not by ``bind``, and is a failure all the same."""
    with pytest.raises(SessionFailure):
        connector(("::1", greeter.port), source="fe80::1%nowhere0").connect(soon)
    greeter.connect().close()


def test_a_name_as_source_address_is_refused_when_it_is_configured() -> None:
    """Binding to a name would ask the DNS, outside every deadline."""
    with pytest.raises(ConfigurationError, match="source_address"):
        SmtpConfig("mx.test", source_address="mx.test")


def test_dns_gets_its_own_share_of_the_deadline() -> None:
    """A dead DNS costs ``timeouts.dns``, not the whole opening."""
    awake = threading.Event()

    def hang(host: str, port: int, *, type: int) -> Any:  # noqa: A002, ANN401 - as getaddrinfo
        awake.wait(10.0)
        raise socket.gaierror(socket.EAI_AGAIN, "x")

    config = SmtpConfig("mx.test", timeouts=Timeouts(dns=0.1))
    began = time.monotonic()
    with pytest.raises(SessionFailure) as caught:
        Connector(config, resolver=Resolver(getaddrinfo=hang)).connect(Deadline.after(30.0))
    assert 0.1 <= time.monotonic() - began < 0.5
    assert (caught.value.failure.kind, caught.value.failure.phase) == (FailureKind.TIMEOUT, Phase.RESOLVE)
    awake.set()


def test_outdated_addresses_are_told_of(greeter: Peer, unused_port: int, soon: Deadline) -> None:
    """Whoever listens hears that DNS failed; a failure to connect to them says how old they were."""
    clock = FakeClock()
    answers: list[Any] = [[(V4, 1, 6, "", ("127.0.0.1", port))] for port in (greeter.port, unused_port)]

    def once_each(host: str, port: int, *, type: int) -> Any:  # noqa: A002, ANN401 - as getaddrinfo
        if not answers:
            raise socket.gaierror(socket.EAI_AGAIN, "x")
        return answers.pop(0)

    ages: list[float] = []
    resolver = Resolver(DnsPolicy(ttl=60.0), clock=clock, getaddrinfo=once_each)
    under_test = Connector(SmtpConfig("mx.test"), resolver=resolver, on_stale=ages.append)
    under_test.connect(soon).close()
    clock.advance(60.0)
    with pytest.raises(SessionFailure):
        under_test.connect(soon)
    assert ages == []
    clock.advance(75.0)
    with pytest.raises(SessionFailure, match="75 s ago"):
        under_test.connect(soon)
    assert ages == [75.0]


def test_an_application_s_own_socket_factory(greeter: Peer, soon: Deadline) -> None:
    """A guard against private networks sees host, port and the seconds left, and nothing is resolved around it."""
    asked: list[tuple[str, int, float]] = []

    def open_socket(host: str, port: int, seconds: float) -> socket.socket:
        asked.append((host, port, seconds))
        return greeter.connect()

    config = SmtpConfig("mx.invalid", 587)
    stream = Connector(config, open_socket=open_socket).connect(soon)
    assert read(stream, soon) == b"220 hi\r\n"
    stream.close()
    host, port, seconds = asked[0]
    assert (host, port) == ("mx.invalid", 587)
    assert 0.0 < seconds <= 10.0


def test_a_socket_factory_that_refuses(soon: Deadline) -> None:
    """Its ``OSError`` is a failure to connect, and the cause."""
    refusal = PermissionError(errno.EACCES, "private network")

    def refuse(*_: object) -> socket.socket:
        raise refusal

    with pytest.raises(SessionFailure) as caught:
        Connector(SmtpConfig("mx.test"), open_socket=refuse).connect(soon)
    assert caught.value.__cause__ is refusal
    assert caught.value.failure.phase is Phase.CONNECT


def test_implicit_tls_against_a_port_in_the_clear(greeter: Peer, soon: Deadline) -> None:
    """The most common mistake of all is explained: SSL switched on for the STARTTLS port."""
    config = SmtpConfig("mx.test", 587, tls=TlsPolicy(TlsMode.IMPLICIT))
    with pytest.raises(SessionFailure, match="EMAIL_USE_TLS with port 587") as caught:
        Connector(config, resolver=dns(("127.0.0.1", greeter.port))).connect(soon)
    assert (caught.value.failure.kind, caught.value.failure.phase) == (FailureKind.TLS, Phase.TLS)
    assert caught.value.__cause__ is not None


def test_files_that_cannot_be_read_are_found_before_the_network(tmp_path: Path, soon: Deadline) -> None:
    """For STARTTLS as well, where they are needed only later."""
    for mode in (TlsMode.IMPLICIT, TlsMode.STARTTLS):
        config = SmtpConfig("mx.test", tls=TlsPolicy(mode, cafile=str(tmp_path / "missing.pem")))
        with pytest.raises(SessionFailure) as caught:
            Connector(config, resolver=dns()).connect(soon)
        assert caught.value.failure.kind is FailureKind.LOCAL


def test_starttls_is_left_to_the_session(greeter: Peer, certs: CertificateAuthority, soon: Deadline) -> None:
    """The stream is in the clear until the server said 220 to STARTTLS."""
    config = SmtpConfig("mx.test", tls=TlsPolicy(TlsMode.STARTTLS, cafile=str(certs.ca_file)))
    stream = Connector(config, resolver=dns(("127.0.0.1", greeter.port))).connect(soon)
    assert stream.tls_version is None
    stream.close()


@given(st.lists(st.tuples(st.sampled_from([V4, V6]), st.integers(0, 9)), max_size=12))
def test_families_alternate_and_nothing_is_lost(found: list[tuple[int, int]]) -> None:
    """RFC 8305 4: the resolver's first stays first, each family keeps its order, and both are tried early."""
    addresses = [SocketAddress(family, (str(number), 25)) for family, number in found]
    ordered = interleave(addresses)
    assert ordered[:1] == addresses[:1]
    for family in (V4, V6):
        assert [a for a in ordered if a.family == family] == [a for a in addresses if a.family == family]
    families = [address.family for address in ordered]
    shorter = min(families.count(V4), families.count(V6))
    assert len(set(map(tuple, zip(families[: 2 * shorter : 2], families[1 : 2 * shorter : 2], strict=True)))) <= 1

"""Through a SOCKS 5 or HTTP proxy: octet by octet, over real sockets, and every way of being refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp import (
    ConfigurationError,
    ConnectionBroken,
    ConnectionRefused,
    ConnectionTimedOut,
    Credentials,
    Envelope,
    MailData,
    OpeningRetry,
    Proxy,
    ProxyKind,
    ProxyRefused,
    SmtpConfig,
    SMTPConnectionError,
    SubmissionClient,
    Timeouts,
    TlsMode,
    TlsPolicy,
    error_for,
)
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.net.connector import Connector
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.memory import MemoryStream
from robust_email.smtp.net.tunnel import MAX_HEAD, ProxyTrouble, handshake, pass_through
from robust_email.testing import Script, ScriptedServer
from robust_email.testing.certs import Certificate
from tests.net.peers import read
from tests.net.proxies import ProxyServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from robust_email.testing.certs import CertificateAuthority
    from tests.net.peers import Peer

SOCKS = Proxy(ProxyKind.SOCKS5, "proxy.test", 1080)
SOCKS_LOGIN = Proxy(ProxyKind.SOCKS5, "proxy.test", 1080, "user", "pass:word")
HTTP = Proxy(ProxyKind.HTTP, "proxy.test", 3128)
HTTP_LOGIN = Proxy(ProxyKind.HTTP, "proxy.test", 3128, "user", "pass:word")
GREETING = b"220 mx.test\r\n"
BOUND = b"\x01\x7f\x00\x00\x01\x12\x34"

DIALOGUES = {
    "socks": (SOCKS, "mx.test", b"\x05\x01\x00\x05\x01\x00\x03\x07mx.test\x02\x4b", b"\x05\x00\x05\x00\x00" + BOUND),
    "socks-login": (
        SOCKS_LOGIN,
        "mx.test",
        b"\x05\x02\x00\x02\x01\x04user\x09pass:word\x05\x01\x00\x03\x07mx.test\x02\x4b",
        b"\x05\x02\x01\x00\x05\x00\x00" + BOUND,
    ),
    "socks-name-bound": (
        SOCKS,
        "mx.test",
        b"\x05\x01\x00\x05\x01\x00\x03\x07mx.test\x02\x4b",
        b"\x05\x00\x05\x00\x00\x03\x02ab\x00\x01",
    ),
    "socks-ipv4": (
        SOCKS,
        "192.0.2.1",
        b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x02\x4b",
        b"\x05\x00\x05\x00\x00" + BOUND,
    ),
    "socks-ipv6": (
        SOCKS,
        "2001:db8::1",
        b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x02\x4b",
        b"\x05\x00\x05\x00\x00\x04" + bytes(18),
    ),
    "http": (HTTP, "mx.test", b"CONNECT mx.test:587 HTTP/1.1\r\nHost: mx.test:587\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    "http-login": (
        HTTP_LOGIN,
        "2001:db8::1",
        (
            b"CONNECT [2001:db8::1]:587 HTTP/1.1\r\nHost: [2001:db8::1]:587\r\n"
            b"Proxy-Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n\r\n"
        ),
        b"HTTP/1.0 204 No Content\r\nX: y\r\n\r\n",
    ),
    "http-idna": (
        HTTP,
        "mx.bücher.example.",
        b"CONNECT mx.xn--bcher-kva.example:587 HTTP/1.1\r\nHost: mx.xn--bcher-kva.example:587\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
    ),
}


@pytest.mark.parametrize("size", [1, 65_536], ids=["octet by octet", "whole"])
@pytest.mark.parametrize("name", DIALOGUES)
def test_nothing_of_the_relays_is_swallowed(name: str, size: int, soon: Deadline) -> None:
    """Exactly the proxy's octets are read, however they arrive, and the greeting behind them is the next to be read."""
    proxy, host, said, heard = DIALOGUES[name]
    octets = heard + GREETING
    stream = Cut(MemoryStream([octets[i : i + size] for i in range(0, len(octets), size)]), size)
    pass_through(stream.memory, proxy, host, 587, soon)
    assert bytes(stream.memory.written) == said
    rest = b""
    while len(rest) < len(GREETING):
        rest += stream.memory.read_some() or b""
    assert rest == GREETING


class Cut:
    """Holds a memory stream that writes few octets at a time."""

    def __init__(self, memory: MemoryStream, size: int) -> None:
        self.memory = memory
        memory._write_limit = size


@pytest.mark.parametrize(
    ("proxy", "heard", "kind"),
    [
        (SOCKS, b"HTTP/1.1 400", FailureKind.GARBAGE),
        (SOCKS, b"\x05\xff", FailureKind.LOCAL),
        (SOCKS, b"\x05\x02", FailureKind.GARBAGE),
        (SOCKS_LOGIN, b"\x05\x02\x01\x01", FailureKind.LOCAL),
        (SOCKS, b"\x05\x00\x05\x01\x00\x01", FailureKind.RESET),
        (SOCKS, b"\x05\x00\x05\x02\x00\x01", FailureKind.LOCAL),
        (SOCKS, b"\x05\x00\x05\x03\x00\x01", FailureKind.UNREACHABLE),
        (SOCKS, b"\x05\x00\x05\x05\x00\x01", FailureKind.CONNECTION_REFUSED),
        (SOCKS, b"\x05\x00\x05\x06\x00\x01", FailureKind.TIMEOUT),
        (SOCKS, b"\x05\x00\x05\x77\x00\x01", FailureKind.RESET),
        (SOCKS, b"\x05\x00\x05\x00\x00\x09", FailureKind.GARBAGE),
        (SOCKS, b"\x05\x00\x04\x00\x00\x01", FailureKind.GARBAGE),
        (HTTP, b"220 mx.test ESMTP\r\n\r\n", FailureKind.GARBAGE),
        (HTTP, b"x" * (MAX_HEAD + 1), FailureKind.GARBAGE),
        (HTTP, b"HTTP/1.1 403 No\r\n\r\n", FailureKind.LOCAL),
        (HTTP_LOGIN, b"HTTP/1.1 407 No\r\n\r\n", FailureKind.LOCAL),
        (HTTP, b"HTTP/1.1 502 No\r\n\r\n", FailureKind.UNREACHABLE),
        (HTTP, b"HTTP/1.1 504 No\r\n\r\n", FailureKind.TIMEOUT),
        (HTTP, b"HTTP/1.1 302 Found\r\n\r\n", FailureKind.RESET),
    ],
)
def test_each_refusal_has_its_kind(proxy: Proxy, heard: bytes, kind: FailureKind, soon: Deadline) -> None:
    """What the proxy answers decides between passing trouble and a mistake; the text names it and holds no password."""
    with pytest.raises(SessionFailure) as failed:
        pass_through(MemoryStream([heard]), proxy, "mx.test", 587, soon)
    assert failed.value.failure.kind is kind
    assert f"mx.test:587: the proxy {proxy.endpoint} " in failed.value.failure.text
    assert "pass:word" not in failed.value.failure.text + repr(proxy)


@given(proxy=st.sampled_from([SOCKS, SOCKS_LOGIN, HTTP]), heard=st.binary(max_size=60))
def test_any_octets_end_in_a_way_through_or_in_trouble(proxy: Proxy, heard: bytes) -> None:
    """Whatever a proxy sends, the handshake ends, asks for a bounded number of octets, and raises nothing else."""
    steps, position = handshake(proxy, "mx.test", 25), 0
    try:
        step = next(steps)
        while True:
            if isinstance(step, bytes):
                step = steps.send(b"")
                continue
            assert 0 < step <= 257
            if position + step > len(heard):
                break
            position += step
            step = steps.send(heard[position - step : position])
    except (StopIteration, ProxyTrouble):
        pass


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("socks5://proxy.test:1080", SOCKS),
        ("socks5h://proxy.test:1080/", SOCKS),
        ("http://user:pass%3Aword@proxy.test:3128", HTTP_LOGIN),
        ("socks5://[2001:db8::1]:1080", Proxy(ProxyKind.SOCKS5, "2001:db8::1", 1080)),
    ],
)
def test_a_url_says_it_all(url: str, proxy: Proxy) -> None:
    """Scheme, user, password, host and port are read; a colon in a password is written %3A."""
    assert Proxy.parse(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy.test:1080",
        "https://proxy.test:443",
        "httph://proxy.test:443",
        "socks5://proxy.test",
        "socks5://:hunter2@proxy.test:1",
        "http://proxy.test:99999",
        "http://a%3Ab:hunter2@proxy.test:1",
        f"http://user:{'hunter2' * 40}@proxy.test:1",
        "http://user:hunter2@proxy.test:1/path",
    ],
)
def test_a_bad_url_is_a_mistake_that_is_not_repeated(url: str) -> None:
    """A URL that cannot work is a ConfigurationError, and the text does not hold it: there is a password inside."""
    with pytest.raises(ConfigurationError) as refused:
        Proxy.parse(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("kind", list(ProxyKind))
@pytest.mark.parametrize("drip", [False, True])
@pytest.mark.parametrize("mode", list(TlsMode))
def test_a_mail_goes_through(kind: ProxyKind, drip: bool, mode: TlsMode, certs: CertificateAuthority) -> None:  # noqa: FBT001 - a parameter of the test
    """A mail is accepted by a relay that only the proxy can look up, with TLS verified against the relay's own name."""
    context = certs.server_context(Certificate.GOOD, "mx.test")
    script = Script(
        starttls=context if mode is TlsMode.STARTTLS else None,
        implicit_tls=context if mode is TlsMode.IMPLICIT else None,
    )
    tls = TlsPolicy(mode, cafile=None if mode is TlsMode.NONE else str(certs.ca_file))
    with ScriptedServer(script) as relay, ProxyServer({"mx.test:587": (relay.host, relay.port)}, drip=drip) as proxy:
        config = SmtpConfig("mx.test", 587, proxy=Proxy(kind, "127.0.0.1", proxy.port), tls=tls)
        client = SubmissionClient(config)
        report = client.submit(
            Envelope.of("a@example.org", ["b@example.org"]), MailData.from_bytes(b"A: b\r\n\r\nhi\r\n")
        )
        client.close()
        assert report.all_accepted, report
        assert proxy.asked == ["mx.test:587"]
        assert len(relay.accepted) == 1


@pytest.mark.parametrize("kind", list(ProxyKind))
@pytest.mark.parametrize("good", [True, False])
def test_a_proxy_with_a_log_in(kind: ProxyKind, good: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The right password passes; a wrong one is a mistake of configuration, tried once."""
    with (
        ScriptedServer() as relay,
        ProxyServer({"mx.test:25": (relay.host, relay.port)}, user="user", password="hunter2") as server,
    ):
        proxy = Proxy(kind, "127.0.0.1", server.port, "user", "hunter2" if good else "hunter3")
        client = SubmissionClient(SmtpConfig("mx.test", proxy=proxy, retry=OpeningRetry(delay=0.0)))
        report = client.submit(
            Envelope.of("a@example.org", ["b@example.org"]), MailData.from_bytes(b"A: b\r\n\r\nhi\r\n")
        )
        client.close()
        error = error_for(report)
    assert (error is None) == good
    if not good:
        assert isinstance(error, ProxyRefused)
        assert len(report.attempts) == 1
        assert "hunter" not in str(error)


@pytest.mark.parametrize(
    ("kind", "answer", "error"),
    [
        (ProxyKind.SOCKS5, b"\x05\x05\x00\x01" + bytes(6), ConnectionRefused),
        (ProxyKind.SOCKS5, b"\x05\x06\x00\x01" + bytes(6), ConnectionTimedOut),
        (ProxyKind.SOCKS5, b"\x05", ConnectionBroken),
        (ProxyKind.HTTP, b"HTTP/1.1 502 Bad Gateway\r\n\r\n", SMTPConnectionError),
        (ProxyKind.HTTP, b"HTTP/1.1 200 O", ConnectionBroken),
        (ProxyKind.HTTP, b"HTTP/1.1 403 Forbidden\r\n\r\n", ProxyRefused),
    ],
)
def test_what_a_caller_is_told(kind: ProxyKind, answer: bytes, error: type[Exception]) -> None:
    """Each refusal reaches the caller as the error that the same trouble without a proxy would be."""
    with ScriptedServer() as relay, ProxyServer({"mx.test:25": (relay.host, relay.port)}, answer=answer) as server:
        config = SmtpConfig("mx.test", proxy=Proxy(kind, "127.0.0.1", server.port), retry=OpeningRetry(attempts=1))
        report = SubmissionClient(config).submit(
            Envelope.of("a@example.org", ["b@example.org"]), MailData.from_bytes(b"A: b\r\n\r\nhi\r\n")
        )
    assert type(error_for(report)) is error
    assert "proxy" in str(error_for(report))


def test_a_silent_proxy_costs_no_more_than_the_deadline(
    serve: Callable[[Callable[[socket.socket], None]], Peer],
) -> None:
    """The handshake is inside the opening's time."""

    def silent(sock: socket.socket) -> None:
        while sock.recv(100):
            pass

    peer = serve(silent)
    config = SmtpConfig(
        "mx.test", proxy=Proxy(ProxyKind.SOCKS5, "127.0.0.1", peer.port), timeouts=Timeouts(opening=0.2)
    )
    with pytest.raises(SessionFailure) as failed:
        Connector(config).connect(Deadline.after(0.2))
    assert failed.value.failure.kind is FailureKind.TIMEOUT
    assert "through the proxy" in failed.value.failure.text


def test_a_proxy_on_this_machine_makes_no_loopback() -> None:
    """Credentials stay refused in clear where the proxy is local: behind it there is a network."""
    with (
        ScriptedServer(Script(accounts={"shop": "hunter2"})) as relay,
        ProxyServer({"mx.test:25": (relay.host, relay.port)}) as server,
    ):
        config = SmtpConfig(
            "mx.test",
            proxy=Proxy(ProxyKind.SOCKS5, "127.0.0.1", server.port),
            credentials=Credentials("shop", "hunter2"),
        )
        report = SubmissionClient(config).submit(
            Envelope.of("a@example.org", ["b@example.org"]), MailData.from_bytes(b"A: b\r\n\r\nhi\r\n")
        )
        assert relay.commands["AUTH"] == 0
    assert report.decisive.failure is not None
    assert report.decisive.failure.kind is FailureKind.CLEAR_TEXT


def test_the_relays_greeting_is_the_first_that_the_session_reads(soon: Deadline) -> None:
    """A greeting that rides in the proxy's last segment is not lost."""
    with ScriptedServer() as relay, ProxyServer({"mx.test:25": (relay.host, relay.port)}) as server:
        stream = Connector(SmtpConfig("mx.test", proxy=Proxy(ProxyKind.HTTP, "127.0.0.1", server.port))).connect(soon)
        assert read(stream, soon).startswith(b"220 ")
        stream.abort()

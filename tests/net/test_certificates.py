"""Threats S14 and S15: which servers are believed to be the configured host."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp.config import SmtpConfig, TlsMode, TlsPolicy
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.net.connector import Connector
from robust_email.smtp.phases import Phase
from robust_email.testing.certs import Certificate, CertificateAuthority

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.net.stream import Stream
    from tests.net.peers import Behaviour, Peer


class Relay:
    """A TLS server behind whatever host name the test configures."""

    def __init__(self, serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, deadline: Deadline) -> None:
        """Nothing listens yet."""
        self._serve = serve
        self._certs = certs
        self._deadline = deadline

    def connect(self, host: str, context: ssl.SSLContext, *, certfile: str | None = None) -> Stream:
        """Connect as to ``host`` on port 465."""

        def handshake(connection: socket.socket) -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as tls,
            ):
                tls.sendall(b"220 hi\r\n")
                tls.recv(1)

        peer = self._serve(handshake)
        policy = TlsPolicy(TlsMode.IMPLICIT, cafile=str(self._certs.ca_file), certfile=certfile)
        config = SmtpConfig(host, 465, tls=policy)
        return Connector(config, open_socket=lambda *_: peer.connect()).connect(self._deadline)


@pytest.fixture
def relay(serve: Callable[[Behaviour], Peer], certs: CertificateAuthority, soon: Deadline) -> Relay:
    """Give the relay."""
    return Relay(serve, certs, soon)


ACCEPTED = [
    ("localhost", ("localhost",)),
    ("LOCALHOST", ("localhost",)),
    ("localhost.", ("localhost",)),
    ("127.0.0.1", ("127.0.0.1",)),
    ("::1", ("::1",)),
    ("mx.example.test", ("*.example.test",)),
    ("mx2.example.test", ("mx1.example.test", "mx2.example.test")),
]


@pytest.mark.parametrize(("host", "names"), ACCEPTED)
def test_s14_a_certificate_for_the_configured_host_is_accepted(
    relay: Relay, certs: CertificateAuthority, host: str, names: tuple[str, ...]
) -> None:
    """S14: the reference identity is the configured host, name or address (RFC 7817 3)."""
    stream = relay.connect(host, certs.server_context(Certificate.GOOD, *names))
    assert stream.tls_version == "TLSv1.3"
    stream.close()


REFUSED = [
    (Certificate.UNKNOWN_CA, "localhost", (), "issuer is unknown|authority that is not trusted"),
    (Certificate.SELF_SIGNED, "localhost", (), "self-signed"),
    (Certificate.EXPIRED, "localhost", (), "expired"),
    (Certificate.NOT_YET_VALID, "localhost", (), "not valid yet"),
    (Certificate.WRONG_HOST, "localhost", (), "other names than this host"),
    (Certificate.CN_ONLY, "localhost", (), "other names than this host"),
    (Certificate.GOOD, "a.b.example.test", ("*.example.test",), "other names than this host"),
    (Certificate.GOOD, "example.test", ("*.example.test",), "other names than this host"),
    (Certificate.GOOD, "127.0.0.1", ("localhost",), "does not carry this address"),
    (Certificate.GOOD, "127.0.0.2", ("127.0.0.1",), "does not carry this address"),
    (Certificate.GOOD, "localhost", ("127.0.0.1",), "other names than this host"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0].value}, {case[1]}, {' '.join(case[2])}")
def test_s14_any_other_certificate_is_refused_in_plain_words(
    relay: Relay, certs: CertificateAuthority, case: tuple[Certificate, str, tuple[str, ...], str]
) -> None:
    """S14: refused, with the reason and the socket's error as the cause."""
    certificate, host, names, words = case
    with pytest.raises(SessionFailure, match=words) as caught:
        relay.connect(host, certs.server_context(certificate, *names))
    assert caught.value.failure.kind is FailureKind.CERTIFICATE
    assert caught.value.failure.phase is Phase.TLS
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda found: found.name)
def test_s15_a_server_of_yesterday_is_refused(
    relay: Relay, certs: CertificateAuthority, version: ssl.TLSVersion
) -> None:
    """S15: TLS 1.2 is the minimum, and there is no way around it."""
    context = certs.server_context(minimum=version, maximum=version)
    with pytest.raises(SessionFailure, match=r"TLS 1\.2|every TLS version|closed the connection") as caught:
        relay.connect("localhost", context)
    assert caught.value.failure.kind is FailureKind.TLS


def test_tls_1_2_is_still_spoken(relay: Relay, certs: CertificateAuthority) -> None:
    """The minimum itself is accepted."""
    context = certs.server_context(maximum=ssl.TLSVersion.TLSv1_2)
    stream = relay.connect("localhost", context)
    assert stream.tls_version == "TLSv1.2"
    stream.close()


def test_the_client_certificate_is_shown_to_a_server_that_asks(
    relay: Relay, certs: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory, soon: Deadline
) -> None:
    """A relay that knows its clients by certificate is served with ``certfile``."""
    chain, key = certs.files()
    both = tmp_path_factory.mktemp("client") / "client.pem"
    both.write_bytes(chain.read_bytes() + key.read_bytes())
    stream = relay.connect("localhost", certs.server_context(verify_client=True), certfile=str(both))
    stream.wait(read=True, write=False, deadline=soon)
    stream.close()

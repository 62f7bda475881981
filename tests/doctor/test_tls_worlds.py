"""Broken TLS: certificates, versions, and ports that speak otherwise than configured."""

from __future__ import annotations

import contextlib
import datetime as dt
import socketserver
import ssl
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from robust_email.smtp import TlsMode, TlsPolicy
from robust_email.testing import At, Close, Fault, Script, ScriptedServer, Stall, TlsGarbage
from robust_email.testing.certs import Certificate, CertificateAuthority
from tests.doctor.world import HASTY, Relay, codes, diagnose, surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor import DoctorReport

BOTH = pytest.mark.parametrize("mode", [TlsMode.STARTTLS, TlsMode.IMPLICIT], ids=["STARTTLS", "implicit"])
CERTIFICATES = {
    Certificate.EXPIRED: ("certificate-expired", "renew"),
    Certificate.NOT_YET_VALID: ("certificate-not-yet-valid", "clock"),
    Certificate.WRONG_HOST: ("certificate-wrong-host", "EMAIL_HOST"),
    Certificate.CN_ONLY: ("certificate-wrong-host", "EMAIL_HOST"),
    Certificate.SELF_SIGNED: ("certificate-self-signed", "EMAIL_SSL_CAFILE"),
    Certificate.UNKNOWN_CA: ("certificate-unknown-authority", "ca-certificates"),
}


def server_with(context: ssl.SSLContext, mode: TlsMode, *faults: Fault) -> ScriptedServer:
    """Return a server with TLS of this mode."""
    name = "implicit_tls" if mode is TlsMode.IMPLICIT else "starttls"
    script: dict[str, Any] = {name: context, "faults": faults}
    return ScriptedServer(Script(**script))


def cause_of(report: DoctorReport) -> tuple[str, str, str]:
    """Return code, found and remedy of the cause."""
    assert report.cause is not None
    return report.cause.code, report.cause.found, report.cause.remedy


@BOTH
@pytest.mark.parametrize("certificate", CERTIFICATES, ids=lambda each: each.name)
def test_a_bad_certificate(certificate: Certificate, mode: TlsMode, smtp_certs: CertificateAuthority) -> None:
    """Each kind is told apart, the certificate that was sent is described, and openssl's command is given."""
    with server_with(smtp_certs.server_context(certificate), mode) as server:
        report = diagnose(Relay(server.port, "localhost", mode, str(smtp_certs.ca_file)).config())
    code, found, remedy = cause_of(report)
    expected, words = CERTIFICATES[certificate]
    assert code == expected
    assert words in remedy
    assert "issued by" in found
    assert f"openssl s_client -connect localhost:{server.port}" in remedy
    assert ("-starttls smtp" in remedy) == (mode is TlsMode.STARTTLS)
    assert server.commands["MAIL"] == server.commands["AUTH"] == 0


def test_the_names_of_a_wrong_certificate_are_shown(smtp_certs: CertificateAuthority) -> None:
    """Whoever has a wrong host sees which name would be right."""
    with server_with(smtp_certs.server_context(Certificate.WRONG_HOST), TlsMode.IMPLICIT) as server:
        report = diagnose(Relay(server.port, "localhost", TlsMode.IMPLICIT, str(smtp_certs.ca_file)).config())
    assert "certificate for elsewhere.test" in cause_of(report)[1]


@BOTH
def test_old_tls_only(mode: TlsMode, smtp_certs: CertificateAuthority) -> None:
    """A server that stops at TLS 1.1 is recognised, and is not spoken to any further."""
    context = smtp_certs.server_context(minimum=ssl.TLSVersion.TLSv1, maximum=ssl.TLSVersion.TLSv1_1)
    with server_with(context, mode) as server:
        report = diagnose(Relay(server.port, "localhost", mode, str(smtp_certs.ca_file)).config())
    code, _, remedy = cause_of(report)
    assert code == "tls-too-old"
    assert "TLS 1.2" in remedy


@BOTH
def test_a_client_certificate_is_wanted(mode: TlsMode, smtp_certs: CertificateAuthority) -> None:
    """With TLS 1.3 the server's complaint comes after the handshake, and is recognised all the same."""
    with server_with(smtp_certs.server_context(verify_client=True), mode) as server:
        report = diagnose(Relay(server.port, "localhost", mode, str(smtp_certs.ca_file)).config())
    code, _, remedy = cause_of(report)
    assert code == "tls-client-certificate-required"
    assert "EMAIL_SSL_CERTFILE" in remedy


@BOTH
def test_a_handshake_that_is_not_answered(mode: TlsMode, smtp_certs: CertificateAuthority) -> None:
    """Silence in the handshake points to the path's packet size."""
    with server_with(smtp_certs.server_context(), mode, Fault(At.TLS, Stall())) as server:
        report = diagnose(Relay(server.port, "localhost", mode, str(smtp_certs.ca_file), seconds=HASTY).config())
    code, _, remedy = cause_of(report)
    assert code == "tls-silent"
    assert "MTU" in remedy


@BOTH
def test_a_handshake_that_is_hung_up_on(mode: TlsMode, smtp_certs: CertificateAuthority) -> None:
    """The end of the connection in the handshake points to the server's own log."""
    with server_with(smtp_certs.server_context(), mode, Fault(At.TLS, Close())) as server:
        report = diagnose(Relay(server.port, "localhost", mode, str(smtp_certs.ca_file)).config())
    assert cause_of(report)[0] == "tls-closed"


def test_nonsense_instead_of_tls(smtp_certs: CertificateAuthority) -> None:
    """Octets that are neither TLS nor a greeting are a failed handshake, not a port that begins in clear."""
    with server_with(smtp_certs.server_context(), TlsMode.IMPLICIT, Fault(At.TLS, TlsGarbage())) as server:
        report = diagnose(Relay(server.port, "localhost", TlsMode.IMPLICIT, str(smtp_certs.ca_file)).config())
    assert cause_of(report)[0] == "tls-failed"


def test_tls_on_a_port_that_begins_in_clear() -> None:
    """EMAIL_USE_SSL against port 587: the remedy names the other setting."""
    with ScriptedServer() as server:
        report = diagnose(Relay(server.port, "localhost", TlsMode.IMPLICIT).config())
    code, found, remedy = cause_of(report)
    assert code == "port-speaks-plain"
    assert "begins in clear" in found
    assert "EMAIL_USE_TLS = True" in remedy


@pytest.mark.parametrize("mode", [TlsMode.NONE, TlsMode.STARTTLS], ids=["none", "STARTTLS"])
def test_clear_text_on_a_port_that_speaks_tls(mode: TlsMode, smtp_certs: CertificateAuthority) -> None:
    """EMAIL_USE_TLS against port 465, where both sides wait for the other: recognised before the time-out."""
    with server_with(smtp_certs.server_context(), TlsMode.IMPLICIT) as server:
        report = diagnose(Relay(server.port, "localhost", mode, seconds=4.0).config())
    code, _, remedy = cause_of(report)
    assert code == "port-speaks-tls"
    assert "EMAIL_USE_SSL = True" in remedy
    assert report.seconds < 4.0


class _BadRequest(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Answer whatever comes as a web server does."""
        with contextlib.suppress(OSError):
            if self.request.recv(65_536):
                self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    """Give the port of something that waits for a request and answers in HTTP."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _BadRequest) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("mode", list(TlsMode), ids=lambda mode: mode.value)
def test_a_web_server(mode: TlsMode) -> None:
    """A web server, which speaks only when spoken to, is recognised whatever TLS was expected."""
    with web_server() as port:
        report = diagnose(Relay(port, "localhost", mode, seconds=HASTY).config())
    assert cause_of(report)[0] == "port-speaks-http"


@pytest.mark.parametrize("setting", ["cafile", "certfile"])
def test_files_that_cannot_be_used(setting: str, smtp_server: ScriptedServer) -> None:
    """A missing PEM file is named, and nothing is sent without it."""
    config = Relay(smtp_server.port, "localhost", TlsMode.IMPLICIT).config()
    policy = TlsPolicy(TlsMode.IMPLICIT, **{setting: "missing.pem"})
    code, found, _ = cause_of(diagnose(replace(config, tls=policy)))
    assert code == "tls-files-unusable"
    assert "missing.pem" in found


@BOTH
def test_days_to_expiry(mode: TlsMode, smtp_certs: CertificateAuthority) -> None:
    """A certificate with three days left works, and is a warning."""
    chain, _ = smtp_certs.files()
    ends = ssl._ssl._test_decode_cert(str(chain))["notAfter"]  # type: ignore[attr-defined]  # CPython's own helper
    three_days_before = dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), dt.UTC) - dt.timedelta(days=3.5)
    with server_with(smtp_certs.server_context(), mode) as server:
        relay = Relay(server.port, "localhost", mode, str(smtp_certs.ca_file))
        report = diagnose(relay.config(), surroundings=surroundings(now=lambda: three_days_before))
    assert codes(report) == ["certificate-expiring"]
    assert "3 days" in cause_of(report)[1]
    assert report.exit_code == 1

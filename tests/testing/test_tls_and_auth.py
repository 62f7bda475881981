"""The scripted server's TLS and SASL, against Python's own client and an independent second half."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import smtplib
import ssl
from typing import TYPE_CHECKING

import pytest

from robust_email.testing import At, Extensions, Fault, Inject, Script, ScriptedServer, TlsGarbage
from robust_email.testing.certs import Certificate
from tests.testing.dialogue import CONTENT, ready

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority
    from tests.testing.dialogue import Wire

ACCOUNTS = {"alice": "sécret,=", "bob": "ya29.token"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_starttls_then_auth(smtp_certs: CertificateAuthority, host: str) -> None:
    """AUTH appears after STARTTLS only, and the ledger knows the channel and the user."""
    script = Script(starttls=smtp_certs.server_context(), accounts={"alice": "secret"}, require_auth=True)
    with ScriptedServer(script) as server, smtplib.SMTP(host, server.port) as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        assert client.docmd("AUTH", "PLAIN AHUAcA==")[0] == 538
        assert client.starttls(context=smtp_certs.client_context())[0] == 220
        client.ehlo()
        assert "starttls" not in client.esmtp_features
        assert client.docmd("MAIL FROM:<a@example.org>")[0] == 530
        client.login("alice", "secret")
        client.sendmail("a@example.org", ["b@example.org"], CONTENT)
    [message] = server.accepted
    assert (message.encrypted, message.user) == (True, "alice")
    assert server.transcript().tls_version == "TLSv1.3"


def test_implicit_tls(smtp_certs: CertificateAuthority) -> None:
    """TLS from the first octet; the transcript is in clear text."""
    script = Script(implicit_tls=smtp_certs.server_context())
    with (
        ScriptedServer(script) as server,
        smtplib.SMTP_SSL("localhost", server.port, context=smtp_certs.client_context()) as client,
    ):
        client.sendmail("a@example.org", ["b@example.org"], CONTENT)
    assert server.accepted[0].encrypted
    assert server.transcript().written.startswith(b"220 scripted.test")


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (Certificate.EXPIRED, "expired"),
        (Certificate.NOT_YET_VALID, "not yet valid"),
        (Certificate.WRONG_HOST, "mismatch"),
        (Certificate.CN_ONLY, "mismatch"),
        (Certificate.SELF_SIGNED, "self"),
        (Certificate.UNKNOWN_CA, "unable to get local issuer"),
    ],
)
def test_bad_certificates_are_bad(smtp_certs: CertificateAuthority, certificate: Certificate, reason: str) -> None:
    """A verifying client refuses each for its own reason, and the server notes that the handshake failed."""
    with ScriptedServer(Script(implicit_tls=smtp_certs.server_context(certificate))) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            smtplib.SMTP_SSL("localhost", server.port, context=smtp_certs.client_context())
        server.wait_for(lambda server: server.transcript().closed)
    assert server.transcript().received == b""


def test_an_old_tls_version_only(smtp_certs: CertificateAuthority) -> None:
    """A server bounded to TLS 1.1 finds no version in common with a modern client."""
    context = smtp_certs.server_context(maximum=ssl.TLSVersion.TLSv1_1)
    with ScriptedServer(Script(implicit_tls=context)) as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)version|unsupported protocol"):
            smtplib.SMTP_SSL("localhost", server.port, context=smtp_certs.client_context())
        server.wait_for(lambda server: server.transcript().tls_error is not None)


def test_a_bounded_tls_version(smtp_certs: CertificateAuthority) -> None:
    """TLS 1.2 as the highest version is what the client gets."""
    context = smtp_certs.server_context(maximum=ssl.TLSVersion.TLSv1_2)
    with (
        ScriptedServer(Script(implicit_tls=context)) as server,
        smtplib.SMTP_SSL("localhost", server.port, context=smtp_certs.client_context()),
    ):
        assert server.transcript().tls_version == "TLSv1.2"


def test_a_client_certificate_is_demanded(smtp_certs: CertificateAuthority) -> None:
    """With verify_client the handshake wants a certificate of the authority."""
    context = smtp_certs.server_context(verify_client=True)
    client_context = smtp_certs.client_context()
    client_context.load_cert_chain(*smtp_certs.files())
    with ScriptedServer(Script(implicit_tls=context)) as server:
        with smtplib.SMTP_SSL("localhost", server.port, context=client_context) as client:
            assert client.noop()[0] == 250
        with pytest.raises((ssl.SSLError, smtplib.SMTPException, ConnectionError)):
            smtplib.SMTP_SSL("localhost", server.port, context=smtp_certs.client_context())


def test_what_is_no_tls(smtp_certs: CertificateAuthority) -> None:
    """TlsGarbage answers the client's first flight with clear text."""
    script = Script(starttls=smtp_certs.server_context(), faults=[Fault(At.TLS, TlsGarbage())])
    with ScriptedServer(script) as server, smtplib.SMTP("localhost", server.port) as client:
        with pytest.raises(ssl.SSLError):
            client.starttls(context=smtp_certs.client_context())
        client.close()


def test_plaintext_is_injected_before_tls(smtp_certs: CertificateAuthority) -> None:
    """Inject at STARTTLS puts clear text between the 220 and the handshake, in one segment."""
    script = Script(starttls=smtp_certs.server_context(), faults=[Fault(At.STARTTLS, Inject())])
    with ScriptedServer(script) as server, ready(server) as wire:
        wire.write(b"STARTTLS\r\n")
        assert b"220 2.0.0 Ready to start TLS\r\n250-injected.test" in wire.socket.recv(1000)


def test_input_behind_starttls_is_discarded(smtp_certs: CertificateAuthority) -> None:
    """RFC 3207: what came in the clear is not executed after the handshake."""
    from robust_email.testing import Quirks

    script = Script(starttls=smtp_certs.server_context(), quirks=Quirks(check_synchronisation=False))
    with ScriptedServer(script) as server, ready(server) as wire:
        wire.write(b"STARTTLS\r\nNOOP\r\n")
        wire.reply()
        with smtp_certs.client_context().wrap_socket(wire.socket, server_hostname="localhost") as secure:
            secure.sendall(b"QUIT\r\n")
            assert secure.recv(100).startswith(b"221 ")
    assert server.transcript().discarded == b"NOOP\r\n"
    assert server.commands["NOOP"] == 0


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_smtplib_logs_in(mechanism: str) -> None:
    """Each mechanism that smtplib speaks takes the right password and refuses the wrong one."""
    script = Script(accounts={"alice": "secret"}, extensions=Extensions(auth=(mechanism,)))
    with ScriptedServer(script) as server:
        with smtplib.SMTP(server.host, server.port) as client:
            assert client.login("alice", "secret")[0] == 235
        with (
            smtplib.SMTP(server.host, server.port) as client,
            pytest.raises(smtplib.SMTPAuthenticationError, match="535"),
        ):
            client.login("alice", "wrong")
        with (
            smtplib.SMTP(server.host, server.port) as client,
            pytest.raises(smtplib.SMTPAuthenticationError, match="535"),
        ):
            client.login("nobody", "secret")


def b64(text: str) -> bytes:
    """Encode a SASL message."""
    return base64.b64encode(text.encode())


def scram(wire: Wire, user: str, password: str) -> tuple[bytes, bool]:
    """Log in by RFC 7677; return the last reply, and whether the server proved itself."""
    bare = f"n={user},r=abc"
    first = base64.b64decode(wire.ask(b"AUTH SCRAM-SHA-256 " + b64("n,," + bare))[4:]).decode()
    fields = dict(part.split("=", 1) for part in first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    without_proof = f"c=biws,r={fields['r']}"
    message = f"{bare},{first},{without_proof}".encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True))).decode()
    reply = wire.ask(b64(f"{without_proof},p={proof}"))
    if not reply.startswith(b"334 "):
        return reply, False
    wanted = base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256"))
    return wire.ask(b""), base64.b64decode(reply[4:]) == b"v=" + wanted


def test_scram() -> None:
    """Both sides prove that they know the password; a wrong one gets 535."""
    with ScriptedServer(Script(accounts=ACCOUNTS)) as server:
        with ready(server) as wire:
            reply, proven = scram(wire, "alice", ACCOUNTS["alice"])
            assert reply.startswith(b"235 ")
            assert proven
        with ready(server) as wire:
            assert scram(wire, "alice", "wrong")[0].startswith(b"535 ")
    assert server.transcript(1).user == "alice"
    assert server.transcript(2).user is None


def test_xoauth2() -> None:
    """The right token gets 235, a wrong one a challenge with the reason and then 535."""
    with ScriptedServer(Script(accounts=ACCOUNTS)) as server, ready(server) as wire:
        reply = wire.ask(b"AUTH XOAUTH2 " + b64("user=bob\x01auth=Bearer stale\x01\x01"))
        assert b'"status": "401"' in base64.b64decode(reply[4:])
        assert wire.ask(b"").startswith(b"535 ")
        assert wire.ask(b"AUTH XOAUTH2 " + b64("user=bob\x01auth=Bearer ya29.token\x01\x01")).startswith(b"235 ")
        assert wire.ask(b"AUTH PLAIN").startswith(b"503 ")


def bearer(token: str, header: str = "n,a=bob,") -> bytes:
    """Encode the message of RFC 7628 4.1."""
    return b64(f"{header}\x01host=scripted.test\x01port=587\x01auth=Bearer {token}\x01\x01")


def test_oauthbearer() -> None:
    """A wrong token gets JSON, then 535 for its acknowledgement; the right one 235, with or without the name."""
    with ScriptedServer(Script(accounts=ACCOUNTS)) as server:
        with ready(server) as wire:
            reply = wire.ask(b"AUTH OAUTHBEARER " + bearer("stale"))
            assert json.loads(base64.b64decode(reply[4:]))["status"] == "invalid_token"
            assert wire.ask(b"AQ==").startswith(b"535 ")
            assert wire.ask(b"AUTH OAUTHBEARER " + bearer("ya29.token", "n,a=alice,")).startswith(b"334 ")
            assert wire.ask(b"*").startswith(b"501 ")
            assert wire.ask(b"AUTH OAUTHBEARER " + bearer("ya29.token")).startswith(b"235 ")
        with ready(server) as wire:
            assert wire.ask(b"AUTH OAUTHBEARER") == b"334 \r\n"
            assert wire.ask(bearer("ya29.token", "y,,")).startswith(b"235 ")
    assert [transcript.user for transcript in server.transcripts] == ["bob", "bob"]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([b"AUTH OAUTHBEARER ="], b"501"),
        ([b"AUTH OAUTHBEARER AQ=="], b"501"),
        ([b"AUTH OAUTHBEARER " + bearer("x", "p=tls-unique,,")], b"501"),
        ([b"AUTH OAUTHBEARER " + bearer("stale"), b""], b"501"),
        ([b"AUTH OAUTHBEARER " + bearer("stale"), b"AQE="], b"501"),
        ([b"AUTH OAUTHBEARER " + bearer("x" * 600)], b"500"),
        ([b"AUTH OAUTHBEARER", bearer("x" * 600), b"AQ=="], b"535"),
        ([b"AUTH PLAIN !!"], b"501"),
        ([b"AUTH PLAIN AAAA"], b"501"),
        ([b"AUTH PLAIN ="], b"501"),
        ([b"AUTH PLAIN", b"*"], b"501"),
        ([b"AUTH CRAM-MD5 AAAA"], b"501"),
        ([b"AUTH SCRAM-SHA-256 " + b64("p=tls-unique,,n=alice,r=abc")], b"501"),
        ([b"AUTH GSSAPI"], b"504"),
    ],
)
def test_sasl_gone_wrong(lines: list[bytes], code: bytes) -> None:
    """What is no SASL exchange is refused, and the session goes on."""
    with ScriptedServer(Script(accounts=ACCOUNTS)) as server, ready(server) as wire:
        assert [wire.ask(line) for line in lines][-1][:3] == code
        assert wire.ask(b"NOOP").startswith(b"250 ")


def test_a_script_that_no_server_can_be(smtp_certs: CertificateAuthority) -> None:
    """STARTTLS on a port with implicit TLS, and mechanisms that are not written, are ValueErrors."""
    context = smtp_certs.server_context()
    with pytest.raises(ValueError, match="not both"):
        Script(starttls=context, implicit_tls=context)
    with pytest.raises(ValueError, match="GSSAPI"):
        Script(extensions=Extensions(auth=("GSSAPI",)))


def test_secrets_are_not_in_a_repr() -> None:
    """Passwords and contents stay out of tracebacks and test reports."""
    assert "sécret" not in repr(Script(accounts=ACCOUNTS))

"""The real servers work as the contract suite expects: proven with smtplib, which is not ours."""

from __future__ import annotations

import smtplib
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority
    from tests.servers.running import RunningServer, ServerStarter, ServerTls

ACCOUNTS = {"shop": "a secret"}
SENDER = "shop@example.org"
OFFERED = {
    "postfix": {"PIPELINING", "CHUNKING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"},
    "exim": {"PIPELINING", "CHUNKING", "SIZE", "8BITMIME", "DSN"},
    "aiosmtpd_server": {"SIZE", "8BITMIME", "SMTPUTF8"},
}


def content(message_id: str) -> bytes:
    """Return a message."""
    return f"From: {SENDER}\r\nMessage-ID: {message_id}\r\nSubject: x\r\n\r\n.hello\r\n".encode()


@pytest.fixture(
    params=[
        pytest.param(name, marks=getattr(pytest.mark, name)) if name in {"postfix", "exim"} else name
        for name in OFFERED
    ]
)
def name(request: pytest.FixtureRequest) -> str:
    """Give each server's fixture name."""
    return str(request.param)


@pytest.fixture
def start(name: str, request: pytest.FixtureRequest) -> ServerStarter:
    """Give each server's factory."""
    starter: ServerStarter = request.getfixturevalue(name)
    return starter


def submit(server: RunningServer, client: smtplib.SMTP) -> None:
    """Submit a message to a good, a bad and a greylisted recipient, and compare both sides' books."""
    recipients = ["good@example.org", "bad@example.org", "temp@example.org", "fine@example.org"]
    refused = client.sendmail(SENDER, recipients, content("<1@example.org>"))
    assert {address: code for address, (code, _) in refused.items()} == {
        "bad@example.org": 550,
        "temp@example.org": 451,
    }
    taken = server.wait_for_ledger(2)
    assert sorted(taken) == [("fine@example.org", "<1@example.org>"), ("good@example.org", "<1@example.org>")]


def test_in_clear_text(start: ServerStarter, name: str) -> None:
    """The server offers what it is known for, refuses by recipient, and its ledger agrees with the client."""
    server = start()
    assert server.offered() >= OFFERED[name]
    assert not {"AUTH", "STARTTLS"} & server.offered()
    with smtplib.SMTP(server.host, server.port) as client:
        submit(server, client)


def test_starttls_and_auth(start: ServerStarter, smtp_certs: CertificateAuthority, starttls: ServerTls) -> None:
    """A verifying client gets TLS, then AUTH, which was not offered before; a wrong password is refused."""
    server = start(tls=starttls, accounts=ACCOUNTS)
    assert "STARTTLS" in server.offered()
    assert "AUTH" not in server.offered()
    with smtplib.SMTP("localhost", server.port) as client:
        client.starttls(context=smtp_certs.client_context())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("shop", "wrong")
    with smtplib.SMTP("localhost", server.port) as client:
        client.starttls(context=smtp_certs.client_context())
        client.login(*next(iter(ACCOUNTS.items())))
        submit(server, client)


def test_implicit_tls(start: ServerStarter, smtp_certs: CertificateAuthority, implicit_tls: ServerTls) -> None:
    """TLS from the first octet."""
    server = start(tls=implicit_tls)
    with smtplib.SMTP_SSL("localhost", server.port, context=smtp_certs.client_context()) as client:
        submit(server, client)


def replies_to(server: RunningServer, octets: bytes) -> list[bytes]:
    """Write octets in one segment after the greeting, and return the codes of all replies until the end."""
    with socket.create_connection((server.host, server.port), 10) as sock, sock.makefile("rb") as lines:
        lines.readline()
        sock.sendall(octets)
        return [line[:3] for line in lines if line[3:4] == b" "]


def test_a_strict_postfix_refuses_what_a_lenient_one_takes(postfix: ServerStarter) -> None:
    """DATA and its content in one segment: refused where pipelining out of turn is forbidden."""
    data = content("<1@example.org>")
    octets = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n" + data + b".\r\nQUIT\r\n"
    with_helo = b"EHLO c\r\n" + octets
    assert replies_to(postfix(), with_helo)[-2:] == [b"250", b"221"]
    assert b"250" not in replies_to(postfix(strict=True), with_helo)[3:]


def test_exim_leaks_an_envelope_over_a_failed_bdat(exim: ServerStarter) -> None:
    """The next message goes out in the transaction that the failed one left open: what RSET in front prevents."""
    failed = b"MAIL FROM:<first@example.org>\r\nRCPT TO:<bad@example.org>\r\nBDAT 2 LAST\r\n\r\n"
    body = content("<2@example.org>")
    second = b"MAIL FROM:<second@example.org>\r\nRCPT TO:<b@example.org>\r\nBDAT %d LAST\r\n%b" % (len(body), body)
    codes = replies_to(exim(), b"EHLO c\r\n" + failed + second + b"QUIT\r\n")
    assert codes == [b"250", b"250", b"550", b"503", b"503", b"250", b"250", b"221"]
    cured = replies_to(exim(), b"EHLO c\r\n" + failed + b"RSET\r\n" + second + b"QUIT\r\n")
    assert cured == [b"250", b"250", b"550", b"503", b"250", b"250", b"250", b"250", b"221"]


def test_exim_tires_of_conversation(exim: ServerStarter) -> None:
    """More than so many commands without mail end the session with 554."""
    server = exim(settings={"smtp_accept_max_nonmail": "3"})
    assert b"554" in replies_to(server, b"EHLO c\r\n" + b"NOOP\r\n" * 6)


def test_opensmtpd_counts_mails_and_refuses_pipelining(opensmtpd: ServerStarter) -> None:
    """It offers neither PIPELINING nor CHUNKING, and says 452 to one mail too many in a session."""
    server = opensmtpd(max_mails=2)
    assert not {"PIPELINING", "CHUNKING"} & server.offered()
    with smtplib.SMTP(server.host, server.port) as client:
        for number in (1, 2):
            refused = client.sendmail(
                SENDER, ["good@example.org", "bad@example.org"], content(f"<{number}@example.org>")
            )
            assert refused["bad@example.org"][0] == 550
        with pytest.raises(smtplib.SMTPSenderRefused, match="452"):
            client.sendmail(SENDER, ["good@example.org"], content("<3@example.org>"))
    taken = server.wait_for_ledger(2)
    assert sorted(taken) == [("good@example.org", "<1@example.org>"), ("good@example.org", "<2@example.org>")]
    assert b"500" in replies_to(server, b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRSET\r\n")

"""The contract's core against servers that nobody here wrote."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMultiAlternatives

from robust_email.backend import RobustSMTPEmailBackend
from tests.contract.ways import by_hand, letter

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority
    from tests.servers.running import RunningServer, ServerStarter, ServerTls

SERVERS = ["postfix", "exim", "aiosmtpd_server"]


@pytest.fixture(params=SERVERS)
def start(request: pytest.FixtureRequest) -> ServerStarter:
    """Give a factory of real servers, one kind after the other."""
    starter: ServerStarter = request.getfixturevalue(request.param)
    return starter


def backend_for(server: RunningServer, **more: Any) -> Any:  # noqa: ANN401 - a backend whose connection is anything
    """Build a backend for a real server."""
    return by_hand(RobustSMTPEmailBackend, host=server.host, port=server.port, timeout=20, **more)


def test_one_and_many_are_accepted_once(start: ServerStarter) -> None:
    """A single message and a batch: each is in the server's own account once, and the count is true."""
    server = start()
    backend = backend_for(server)
    assert backend.send_messages([letter("one@example.org")]) == 1
    messages = [letter(f"user{number}@example.org") for number in range(12)]
    assert backend.send_messages(iter(messages)) == 12
    taken = sorted(recipient for recipient, _ in server.wait_for_ledger(13))
    assert taken == sorted(["one@example.org", *(message.to[0] for message in messages)])


def test_starttls_and_a_rich_message(
    start: ServerStarter, starttls: ServerTls, smtp_certs: CertificateAuthority
) -> None:
    """With required STARTTLS, verified: text, HTML, an attachment and non-ASCII everywhere are accepted."""
    server = start(tls=starttls)
    message = EmailMultiAlternatives("Grüße", "Schöne Grüße\n.\n..\n", "shop@example.org", ["ann@example.org"])
    message.attach_alternative("<p>Schöne Grüße</p>", "text/html")
    message.attach("bytes.bin", bytes(range(256)) * 400, "application/octet-stream")
    assert backend_for(server, use_tls=True, ssl_cafile=str(smtp_certs.ca_file)).send_messages([message]) == 1
    assert [recipient for recipient, _ in server.wait_for_ledger(1)] == ["ann@example.org"]


def test_the_test_button(start: ServerStarter) -> None:
    """open(), MAIL and RCPT through the facade, close() in the middle, and a mail after that."""
    server = start()
    backend = backend_for(server, pool_size=1)
    backend.open()
    backend.connection.ehlo_or_helo_if_needed()
    assert backend.connection.mail("shop@example.org", [])[0] == 250
    assert backend.connection.rcpt("nobody@example.org", [])[0] == 250
    backend.close()
    assert backend.send_messages([letter("ann@example.org")]) == 1
    assert [recipient for recipient, _ in server.wait_for_ledger(1)] == ["ann@example.org"]


def test_no_starttls_no_mail(start: ServerStarter) -> None:
    """A server without STARTTLS gets nothing from a backend that requires it."""
    server = start()
    with pytest.raises(smtplib.SMTPNotSupportedError, match="STARTTLS extension not supported by server"):
        backend_for(server, use_tls=True).send_messages([letter()])
    assert server.ledger() == []

"""Postfix and Exim, sound and misconfigured in ways that are met in the field."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from robust_email.smtp import TlsMode
from tests.doctor.world import Relay, codes, diagnose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing.certs import CertificateAuthority
    from tests.servers.running import RunningServer, ServerStarter, ServerTls

USER, PASSWORD = "shop", "hunter2-canary"
BOTH = pytest.mark.parametrize(
    "name", [pytest.param("postfix", marks=pytest.mark.postfix), pytest.param("exim", marks=pytest.mark.exim)]
)


@pytest.fixture
def start(name: str, request: pytest.FixtureRequest) -> ServerStarter:
    """Give each server's factory."""
    starter: ServerStarter = request.getfixturevalue(name)
    return starter


def relay(server: RunningServer, certs: CertificateAuthority | None = None, **fields: Any) -> Relay:  # noqa: ANN401
    """Return how to reach it: with STARTTLS where there is an authority to trust."""
    if certs is None:
        return Relay(server.port, **fields)
    return Relay(server.port, "localhost", TlsMode.STARTTLS, str(certs.ca_file), **fields)


@BOTH
def test_a_sound_relay(start: ServerStarter, smtp_certs: CertificateAuthority, starttls: ServerTls) -> None:
    """With TLS, log-in and a real mail nothing is wrong, and the server's own ledger has that one mail."""
    server = start(tls=starttls, accounts={USER: PASSWORD})
    report = diagnose(relay(server, smtp_certs, user=USER, password=PASSWORD).config(), recipient="ann@example.org")
    assert codes(report) == []
    assert [recipient for recipient, _ in server.wait_for_ledger(1)] == ["ann@example.org"]


@BOTH
def test_a_wrong_password(start: ServerStarter, smtp_certs: CertificateAuthority, starttls: ServerTls) -> None:
    """535 from a real server."""
    server = start(tls=starttls, accounts={USER: PASSWORD})
    report = diagnose(relay(server, smtp_certs, user=USER, password="wrong-canary").config())
    assert codes(report) == ["auth-refused"]
    assert "wrong-canary" not in str(report.as_dict())


@BOTH
def test_a_log_in_without_tls(start: ServerStarter, starttls: ServerTls) -> None:
    """Servers that offer AUTH only under TLS, asked without."""
    report = diagnose(relay(start(tls=starttls, accounts={USER: PASSWORD}), user=USER, password=PASSWORD).config())
    assert codes(report) == ["auth-needs-tls"]


@BOTH
def test_no_starttls(start: ServerStarter, smtp_certs: CertificateAuthority) -> None:
    """STARTTLS required, and not offered."""
    assert codes(diagnose(relay(start(), smtp_certs).config())) == ["starttls-missing"]


@BOTH
def test_an_untrusted_certificate(start: ServerStarter, starttls: ServerTls) -> None:
    """The system's authorities do not know the server's."""
    server = start(tls=starttls)
    report = diagnose(Relay(server.port, "localhost", TlsMode.STARTTLS).config())
    assert codes(report) == ["certificate-unknown-authority"]


@BOTH
@pytest.mark.parametrize("mode", [TlsMode.NONE, TlsMode.STARTTLS], ids=["none", "STARTTLS"])
def test_a_port_with_implicit_tls(start: ServerStarter, mode: TlsMode, implicit_tls: ServerTls) -> None:
    """Port 465 spoken to in clear."""
    server = start(tls=implicit_tls)
    assert codes(diagnose(Relay(server.port, "localhost", mode, seconds=6.0).config())) == ["port-speaks-tls"]


@BOTH
def test_implicit_tls_on_a_port_in_clear(start: ServerStarter, starttls: ServerTls) -> None:
    """Port 587 spoken to in TLS."""
    report = diagnose(Relay(start(tls=starttls).port, "localhost", TlsMode.IMPLICIT).config())
    assert codes(report) == ["port-speaks-plain"]


@BOTH
@pytest.mark.parametrize(
    ("recipient", "expected"), [("bad@example.org", "recipient-unknown"), ("temp@example.org", "greylisted")]
)
def test_a_recipient_that_is_not_taken(start: ServerStarter, recipient: str, expected: str) -> None:
    """550 5.1.1 and 451 4.7.1 in the dry run; no mail follows."""
    server = start()
    report = diagnose(relay(server).config(), recipient=recipient)
    assert codes(report) == [expected]
    assert server.ledger() == []


POSTFIX_WORLDS = {
    "relay denied": (
        {"smtpd_relay_restrictions": "reject_unauth_destination", "mynetworks": "192.0.2.0/24"},
        "relay-denied",
    ),
    "sender refused": ({"smtpd_sender_restrictions": "reject", "smtpd_delay_reject": "no"}, "sender-refused"),
    "client refused": ({"smtpd_client_restrictions": "reject", "smtpd_delay_reject": "no"}, "greeting-refused"),
    "name refused": ({"smtpd_helo_restrictions": "reject", "smtpd_delay_reject": "no"}, "ehlo-refused"),
    "TLS required": ({"smtpd_tls_security_level": "encrypt"}, "tls-required"),
    "small mails only": ({"message_size_limit": "20000"}, "size-small"),
    "fewer extensions": ({"smtpd_discard_ehlo_keywords": "starttls, pipelining"}, None),
}


@pytest.mark.parametrize(("settings", "expected"), POSTFIX_WORLDS.values(), ids=POSTFIX_WORLDS)
def test_a_postfix_that_refuses(
    settings: dict[str, str], expected: str | None, postfix: ServerStarter, starttls: ServerTls
) -> None:
    """Postfix's own restrictions, each by its own words."""
    server = postfix(settings=settings, tls=starttls if "smtpd_tls_security_level" in settings else None)
    report = diagnose(relay(server).config())
    assert codes(report) == ([expected] if expected else [])


def test_a_postfix_that_greets_late(postfix: ServerStarter) -> None:
    """The pause that postscreen and ``sleep`` put before the greeting is measured."""
    server = postfix(settings={"smtpd_client_restrictions": "sleep 1, permit", "smtpd_delay_reject": "no"})
    assert codes(diagnose(relay(server, seconds=4.0).config())) == ["reply-slow"]


@contextlib.contextmanager
def greeted(server: RunningServer) -> Iterator[None]:
    """Hold a connection that got its 220; Postfix may still count the one that saw whether it had started."""
    for _ in range(100):
        with socket.create_connection((server.host, server.port), 10) as held:
            if held.recv(512).startswith(b"220"):
                yield
                return
    raise AssertionError("Postfix lets nobody in")


def test_a_postfix_with_too_many_connections(postfix: ServerStarter) -> None:
    """421 to one connection more than a client may have, as with a pool that is too large."""
    server = postfix(
        settings={
            "smtpd_client_connection_count_limit": "1",
            "smtpd_client_event_limit_exceptions": "192.0.2.0/24",
        }
    )
    with greeted(server):
        report = diagnose(relay(server).config())
    assert codes(report) == ["busy-421"]
    assert report.cause is not None
    assert "EMAIL_POOL_SIZE" in report.cause.remedy


EXIM_WORLDS = {
    "greeting refused": ({"acl_smtp_connect": "deny"}, "greeting-refused"),
    "greeting deferred": ({"acl_smtp_connect": "defer"}, "greeting-try-later"),
    "sender refused": ({"acl_smtp_mail": "deny"}, "sender-refused"),
    "name refused": ({"acl_smtp_helo": "deny"}, "ehlo-refused"),
    "small mails only": ({"message_size_limit": "20000"}, "size-small"),
    "one command too many": ({"smtp_accept_max_nonmail": "2"}, "reuse-refused"),
}


@pytest.mark.parametrize(("settings", "expected"), EXIM_WORLDS.values(), ids=EXIM_WORLDS)
def test_an_exim_that_refuses(settings: dict[str, str], expected: str, exim: ServerStarter) -> None:
    """Exim's own restrictions, each by its own words."""
    report = diagnose(relay(exim(settings=settings)).config())
    assert codes(report) == [expected]

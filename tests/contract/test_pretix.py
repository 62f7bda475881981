"""What pretix does to the backend (docs: drop-in): tenants with relays of their own, a guard, a test button."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from django.core import mail
from django.core.mail import EmailMessage

from robust_email import _compat
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.checks import check_mailers
from robust_email.registry import registry
from robust_email.socket_hook import has_socket_hook, overridden_methods
from robust_email.testing import At, Close, Fault, Reply, Script, ScriptedServer
from tests.contract.ways import PATH, QUICK, backend_for, by_hand, dead_port, legacy_settings, letter

if TYPE_CHECKING:
    import socket

    from robust_email.testing.certs import CertificateAuthority
    from robust_email.testing.pytest_plugin import ServerFactory


@pytest.mark.skipif(_compat.HAS_MAILERS, reason="get_connection() is deprecated from Django 6.1")
def test_pretix_builds_tenants_backends_from_a_key_value_store() -> None:
    """Strings and empty strings are taken for what they mean; explicit None means the setting."""
    with ScriptedServer(Script(accounts={"tenant": "secret"})) as server, legacy_settings(EMAIL_TIMEOUT=60):
        backend = mail.get_connection(
            backend=PATH,
            host=server.host,
            port=str(server.port),
            username="tenant",
            password="secret",
            use_tls="False",
            use_ssl="",
            fail_silently=False,
            timeout=None,
        )
        assert isinstance(backend, RobustSMTPEmailBackend)
        assert (backend.port, backend.use_tls, backend.use_ssl, backend.timeout) == (server.port, False, False, 60)
        assert backend.send_messages([letter()]) == 1
        assert server.accepted[0].user == "tenant"
        assert (backend.username, backend.host) == ("tenant", server.host)


def test_pretix_tenants_do_not_share_sessions() -> None:
    """Two accounts at one relay have a pool each."""
    with ScriptedServer(Script(accounts={"one": "1", "two": "2"})) as server:
        for name, password in (("one", "1"), ("two", "2"), ("one", "1"), ("two", "2")):
            assert backend_for(server, username=name, password=password).send_messages([letter()]) == 1
        assert [message.user for message in server.accepted] == ["one", "two", "one", "two"]
        assert server.connections == 2


class Guard:
    """An SSRF guard as pretix has it: a mixin over smtplib's ``_get_socket``."""

    allowed = True
    asked: ClassVar[list[tuple[str, int, float]]]

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        type(self).asked.append((host, port, timeout))
        if not type(self).allowed:
            raise OSError(f"Connections to {host} are not allowed")
        return super()._get_socket(host, port, timeout)  # type: ignore[misc, no-any-return]  # smtplib's


class GuardedSMTP(Guard, smtplib.SMTP):
    """The guard in clear."""

    asked: ClassVar[list[tuple[str, int, float]]] = []


class GuardedSMTP_SSL(Guard, smtplib.SMTP_SSL):  # noqa: N801 - smtplib's way
    """The guard under implicit TLS."""

    asked: ClassVar[list[tuple[str, int, float]]] = []


class GuardedBackend(RobustSMTPEmailBackend):
    """pretix's ``CheckPrivateNetworkSmtpBackend``."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """Guard either way."""
        return GuardedSMTP_SSL if self.use_ssl else GuardedSMTP


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the guard allow everything and forget what it saw."""
    for kind in (GuardedSMTP, GuardedSMTP_SSL):
        monkeypatch.setattr(kind, "allowed", True)
        monkeypatch.setattr(kind, "asked", [])


@pytest.mark.usefixtures("guard")
def test_pretix_guard_is_asked_for_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An overridden connection_class makes each socket, reconnects included; what it refuses is not connected to."""
    with ScriptedServer() as server:
        assert backend_for(server).send_messages([letter()]) == 1
        backend = backend_for(server, GuardedBackend)
        assert backend.send_messages([letter()]) == 1
        assert len(GuardedSMTP.asked) == 1, "a pool is not shared between connection classes"
        host, port, timeout = GuardedSMTP.asked[0]
        assert (host, port) == (server.host, server.port)
        assert 0 < timeout <= 5
        registry.close()
        assert backend.send_messages([letter()]) == 1
        assert len(GuardedSMTP.asked) == 2
        registry.close()
        connections = server.connections
        monkeypatch.setattr(GuardedSMTP, "allowed", False)
        with pytest.raises(OSError, match="are not allowed"):
            backend.open()
        with pytest.raises(OSError, match="are not allowed"):
            backend.send_messages([letter()])
        assert server.connections == connections


@pytest.mark.usefixtures("guard")
def test_pretix_guard_under_implicit_tls(smtp_certs: CertificateAuthority) -> None:
    """The guard makes the socket; the engine encrypts it and verifies the certificate all the same."""
    with ScriptedServer(Script(implicit_tls=smtp_certs.server_context())) as server:
        trusting = backend_for(server, GuardedBackend, use_ssl=True, ssl_cafile=str(smtp_certs.ca_file))
        assert trusting.send_messages([letter()]) == 1
        assert server.accepted[0].encrypted
        with pytest.raises(OSError, match="certificate"):
            backend_for(server, GuardedBackend, use_ssl=True).open()
        assert len(GuardedSMTP_SSL.asked) == 2


def pretix_test_button(backend: Any) -> None:  # noqa: ANN401 - a backend
    """As pretix's and pretalx's ``test()``."""
    try:
        backend.open()
        backend.connection.ehlo_or_helo_if_needed()
        code, text = backend.connection.mail("shop@example.org", [])
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, text, "shop@example.org")
        code, text = backend.connection.rcpt("testdummy@example.org", [])
        if code not in {250, 251}:
            raise smtplib.SMTPRecipientsRefused({"testdummy@example.org": (code, text)})
    finally:
        backend.close()


def test_pretix_test_button(smtp_faults: ServerFactory) -> None:
    """The test button's dialogue works, and its unfinished transaction does not reach the next mail."""
    server = smtp_faults()
    backend = backend_for(server, pool_size=1)
    pretix_test_button(backend)
    assert backend.send_messages([letter()]) == 1
    assert server.connections == 1
    [accepted] = server.accepted
    assert accepted.forward_paths == ("ann@example.org",)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        pretix_test_button(backend_for(smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no such user")))))
    with pytest.raises(smtplib.SMTPSenderRefused):
        pretix_test_button(backend_for(smtp_faults(Fault(At.MAIL, Reply("550 5.7.1 not you")))))


def test_pretix_test_button_says_what_is_wrong() -> None:
    """A wrong password raises in open(), after one attempt, with a text worth showing; close() works after that."""
    with ScriptedServer(Script(accounts={"user": "right"})) as server:
        backend = backend_for(server, username="user", password="wrong")
        with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
            pretix_test_button(backend)
        assert server.connections == 1
    with pytest.raises(ConnectionRefusedError):
        pretix_test_button(by_hand(RobustSMTPEmailBackend, **QUICK, **dead_port()))


def test_a_session_lost_in_the_test_button_is_not_pooled(smtp_faults: ServerFactory) -> None:
    """A connection that breaks under the facade raises SMTPServerDisconnected; the next mail has a new one."""
    server = smtp_faults(Fault(At.RCPT, Close(), times=1))
    backend = backend_for(server)
    backend.open()
    backend.connection.mail("shop@example.org")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        backend.connection.rcpt("ann@example.org")
    assert backend.connection.mail("shop@example.org")[0] == 250, "the next command has another session"
    backend.close()
    assert backend.send_messages([letter()]) == 1
    assert server.connections == 2


def test_pretix_decides_by_codes(smtp_faults: ServerFactory) -> None:
    """A 4yz is an SMTPResponseException with its code, or SMTPRecipientsRefused with (code, bytes) for each."""
    with pytest.raises(smtplib.SMTPResponseException) as deferred:
        backend_for(smtp_faults(Fault(At.BEFORE_FINAL, Reply("432 4.3.2 too busy")))).send_messages([letter()])
    assert deferred.value.smtp_code == 432
    assert deferred.value.smtp_error == b"4.3.2 too busy"
    server = smtp_faults(Fault(At.RCPT, Reply("450 4.2.1 later")))
    message = EmailMessage("s", "b", "shop@example.org", ["a@example.org", "b@example.org"])
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        backend_for(server).send_messages([message])
    assert refused.value.recipients == {
        "a@example.org": (450, b"4.2.1 later"),
        "b@example.org": (450, b"4.2.1 later"),
    }


def test_a_broken_mail_that_is_sent_again_keeps_its_message_id(smtp_faults: ServerFactory) -> None:
    """An application's own retry of the same object carries the same Message-ID, so that a receiver can fold it."""
    server = smtp_faults(Fault(At.FINAL, Close(), times=1))
    message = letter()
    with pytest.raises(smtplib.SMTPException, match="IN DOUBT"):
        backend_for(server).send_messages([message])
    assert backend_for(server).send_messages([message]) == 1
    assert len(server.accepted) == 2
    assert len({accepted.message_id for accepted in server.accepted}) == 1


def test_methods_that_are_not_called_are_pointed_out() -> None:
    """A connection_class that overrides data() gets a system check, not silence."""

    class Recording(smtplib.SMTP):
        def data(self, msg: Any) -> Any:  # noqa: ANN401 - smtplib's
            return super().data(msg)

    class Backend(RobustSMTPEmailBackend):
        connection_class = Recording

    globals()["RecordingBackend"] = Backend
    with legacy_settings(EMAIL_BACKEND=f"{__name__}.RecordingBackend"):
        [found] = [message for message in check_mailers() if message.id == "robust_email.W008"]
    assert "overrides data;" in found.msg
    assert overridden_methods(GuardedSMTP_SSL) == overridden_methods(smtplib.SMTP) == overridden_methods(object) == ()
    assert not has_socket_hook(Recording)
    assert not has_socket_hook(object)

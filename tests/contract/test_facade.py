"""``backend.connection`` as smtplib's users meet it."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING, Any

import pytest

from robust_email.backend import RobustSMTPEmailBackend
from robust_email.registry import registry
from robust_email.testing import At, Close, Fault, Reply, Script, ScriptedServer
from tests.contract.ways import by_hand, letter, where

if TYPE_CHECKING:
    import ssl

    from robust_email.testing.certs import CertificateAuthority
    from robust_email.testing.pytest_plugin import ServerFactory


def opened(server: ScriptedServer, **more: Any) -> Any:  # noqa: ANN401 - a backend whose connection is anything
    """Give an opened backend with a pool of one session."""
    backend = by_hand(RobustSMTPEmailBackend, timeout=5, pool_size=1, pool_timeout=1, **where(server), **more)
    assert backend.open() is True
    return backend


def test_it_answers_as_smtplib_does(smtp_server: ScriptedServer) -> None:
    """Greeting, extensions, RSET, NOOP and quit() give what smtplib's methods give."""
    backend = opened(smtp_server)
    connection = backend.connection
    connection.ehlo_or_helo_if_needed()
    code, text = connection.ehlo()
    assert code == 250
    assert b"PIPELINING" in text
    assert connection.helo("ignored.example.org")[0] == 250
    assert connection.has_extn("size")
    assert not connection.has_extn("xclient")
    assert connection.esmtp_features["size"] == "10240000"
    assert connection.noop()[0] == 250
    assert connection.mail("Shop <shop@discussão.example.org>")[0] == 250
    assert connection.rset()[0] == 250
    assert connection.mail("")[0] == 250
    assert connection.rcpt("ann@example.org")[0] == 250
    assert connection.quit() == (221, b"2.0.0 The session went back to the pool")
    assert smtp_server.commands["EHLO"] == 1
    assert smtp_server.commands["QUIT"] == 0
    backend.close()


def test_an_unfinished_transaction_is_reset_before_the_next_mail(smtp_server: ScriptedServer) -> None:
    """send_messages() takes the facade's session back first, so that a pool of one does not wait for itself."""
    backend = opened(smtp_server)
    backend.connection.mail("else@example.org")
    backend.connection.rcpt("stranger@example.org")
    assert backend.send_messages([letter()]) == 1
    [accepted] = smtp_server.accepted
    assert (accepted.reverse_path, accepted.forward_paths) == ("shop@example.org", ("ann@example.org",))
    assert backend.connection.mail("shop@example.org")[0] == 250, "it may be used again"
    assert backend.connection.sendmail("shop@example.org", ["bob@example.org"], b"Subject: x\r\n\r\n") == {}
    backend.connection.close()
    backend.close()
    assert smtp_server.connections == 1


@pytest.mark.parametrize("action", [Reply("554 5.5.1 no RSET here"), Close()])
def test_a_session_that_cannot_be_reset_is_dropped(smtp_faults: ServerFactory, action: Reply | Close) -> None:
    """An odd answer to RSET, or none, costs the session, raises nothing, and the next mail has a new one."""
    server = smtp_faults(Fault(At.RSET, action, times=1))
    backend = opened(server)
    backend.connection.mail("shop@example.org")
    backend.close()
    assert backend.send_messages([letter()]) == 1
    assert server.connections == 2


def test_addresses_are_checked_before_the_wire(smtp_server: ScriptedServer) -> None:
    """A line end, a parameter or a second address in an address is a ValueError; nothing is written."""
    backend = opened(smtp_server)
    for bad in (
        "a@example.org\r\nRCPT TO:<x@example.org>",
        "a@example.org> NOTIFY=NEVER",
        "a@example.org, b@example.org",
    ):
        with pytest.raises(ValueError, match="Invalid address"):
            backend.connection.mail(bad)
        with pytest.raises(ValueError, match="Invalid address"):
            backend.connection.sendmail("shop@example.org", [bad], b"Subject: x\r\n\r\n")
    with pytest.raises(ValueError, match="parameter"):
        backend.connection.mail("a@example.org", ["SIZE=1\r\nDATA"])
    backend.close()
    assert smtp_server.commands["MAIL"] == 0


def test_a_relay_that_went_away_raises_what_opening_raises() -> None:
    """When no session can be had at the first command, the facade says so with the same errors as open()."""
    with ScriptedServer() as server:
        backend = opened(server)
        registry.close()
    with pytest.raises(ConnectionRefusedError):
        backend.connection.mail("shop@example.org")
    backend.close()


def test_sendmail_tells_deferred_recipients_apart(smtp_faults: ServerFactory) -> None:
    """Whoever was not accepted is in the answer with his code, as with smtplib."""
    server = smtp_faults(Fault(At.RCPT, Reply("450 4.2.1 later"), subject="busy"))
    backend = opened(server)
    answer = backend.connection.sendmail(
        "shop@example.org", ["ann@example.org", "busy@example.org"], b"Subject: x\r\n\r\n"
    )
    assert answer == {"busy@example.org": (450, b"4.2.1 later")}
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        backend.connection.sendmail("shop@example.org", "busy@example.org", b"Subject: x\r\n\r\n")
    assert refused.value.recipients == answer
    backend.close()


def test_an_ssl_context_may_be_assigned(smtp_certs: CertificateAuthority) -> None:
    """A context assigned to a backend is used, and its sessions are shared with nobody else's."""
    with ScriptedServer(Script(starttls=smtp_certs.server_context())) as server:
        backend = by_hand(RobustSMTPEmailBackend, timeout=5, use_tls=True, **where(server))
        context: ssl.SSLContext = backend.ssl_context
        context.load_verify_locations(smtp_certs.ca_file)
        backend.ssl_context = context
        assert backend.ssl_context is context
        assert backend.send_messages([letter()]) == 1
        other = by_hand(RobustSMTPEmailBackend, timeout=5, use_tls=True, **where(server))
        assert other.ssl_context is not context
        with pytest.raises(OSError, match="certificate"):
            other.open()


def test_a_context_from_missing_files_is_an_os_error() -> None:
    """ssl_context of a backend whose certificate is missing raises OSError naming the file."""
    backend = by_hand(RobustSMTPEmailBackend, use_tls=True, ssl_certfile="/no/such.pem")
    with pytest.raises(OSError, match=r"/no/such\.pem"):
        _ = backend.ssl_context


def test_a_foreign_connections_refusal_is_silenced_or_raised(smtp_faults: ServerFactory) -> None:
    """fail_silently holds for a connection that somebody assigned, too."""
    server = smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no such user")))
    backend = by_hand(RobustSMTPEmailBackend, **where(server))
    backend.connection = smtplib.SMTP(server.host, server.port)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        backend.send_messages([letter()])
    backend.fail_silently = True
    assert backend.send_messages([letter()]) == 0
    backend.close()

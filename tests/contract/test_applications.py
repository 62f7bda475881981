"""What other applications do to the backend beyond ``send_mail()`` (docs: drop-in), each in the words of its code."""

from __future__ import annotations

import contextlib
import logging
import smtplib
import threading
import warnings
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.core.mail.backends import smtp
from django.test import override_settings
from django.utils.log import AdminEmailHandler

from robust_email import _compat
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.testing import At, Close, Fault, Reply, Reset, Script, ScriptedServer
from tests.contract.ways import QUICK, Ways, backend_for, by_hand, dead_port, legacy_settings, letter, where

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.mail import EmailMessage

    from robust_email.testing.pytest_plugin import ServerFactory

OLD_ADMINS = django.VERSION < (6, 0)


# -- weblate


def test_weblate_asks_for_the_class_and_meddles_with_smtplib_only(smtp_server: ScriptedServer) -> None:
    """The backend is a Django SMTP backend; its connection is no smtplib.SMTP, so weblate leaves it alone."""
    backend = backend_for(smtp_server)
    assert issubclass(type(backend), smtp.EmailBackend)
    backend.open()
    assert not isinstance(backend.connection, smtplib.SMTP)
    with pytest.raises(smtplib.SMTPNotSupportedError, match="sendmail"):
        backend.connection.data(b"Subject: hi\r\n\r\n")
    backend.close()


def test_weblate_sends_on_through_a_dead_connection(smtp_faults: ServerFactory) -> None:
    """One opened backend, many sends, a connection that dies between two: replaced, nothing lost, nothing doubled."""
    server = smtp_faults(Fault(At.MAIL, Close(), message=2, times=1))
    backend = backend_for(server, pipelining=False)
    backend.open()
    for number in range(4):
        assert backend.send_messages([letter(f"user{number}@example.org")]) == 1
    backend.close()
    assert [accepted.forward_paths for accepted in server.accepted] == [(f"user{n}@example.org",) for n in range(4)]
    assert server.connections == 2


def test_weblate_checks_with_a_timeout(smtp_faults: ServerFactory) -> None:
    """open() really asks the server and takes the time-out at most, though each step would fit in it."""
    server = smtp_faults(
        Fault(At.GREETING, Reply(delay=0.25)), Fault(At.EHLO, Reply(delay=0.25)), accounts={"user": "secret"}
    )
    backend = by_hand(RobustSMTPEmailBackend, **where(server), username="user", password="secret", timeout=0.4)
    with pytest.raises(TimeoutError):
        backend.open()
    backend.close()


# -- wagtail, mayan, reviewboard, misago, helpdesk, DKIM signers


def test_wagtail_gives_none_for_everything(smtp_server: ScriptedServer) -> None:
    """None for each argument, fail_silently included, means the settings; a backend is true."""
    with legacy_settings(EMAIL_HOST=smtp_server.host, EMAIL_PORT=smtp_server.port):
        backend = by_hand(RobustSMTPEmailBackend, username=None, password=None, fail_silently=None)
    assert bool(backend)
    assert backend.fail_silently is False
    assert backend.send_messages([letter()]) == 1


def test_mayan_sends_after_the_with_block(smtp_server: ScriptedServer) -> None:
    """A backend is usable again after close(); an unknown keyword is ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        unknown: dict[str, Any] = {"from": "shop@example.org"}
        backend = RobustSMTPEmailBackend(**where(smtp_server), **unknown)
    with backend as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        message = letter(connection=connection)
    assert backend.send_messages([message]) == 1


class ReviewBoardBackend(RobustSMTPEmailBackend):
    """``_send()`` overridden, calling ``super()`` and then using the connection."""

    seen: list[tuple[Any, bool]]

    def _send(self, message: EmailMessage, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]  # theirs  # noqa: ANN401 - theirs
        sent = super()._send(message, *args, **kwargs)
        type(self).seen.append((self.connection.timeout, sent))
        return sent


def test_reviewboard_overrides_send(smtp_faults: ServerFactory) -> None:
    """send_messages() calls an overridden _send() per message, with a connection that is alive until it returns."""
    server = smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad@"))
    ReviewBoardBackend.seen = []
    backend = backend_for(server, ReviewBoardBackend, pool_size=1, pool_timeout=0.5)
    assert backend.send_messages([letter(), letter()]) == 2
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        backend.send_messages([letter("bad@example.org"), letter()])
    assert ReviewBoardBackend.seen == [(5.0, True)] * 3
    assert backend.connection is None
    assert server.connections == 1


class SigningBackend(RobustSMTPEmailBackend):
    """``_send()`` as DKIM backends have it: their own octets through ``connection.sendmail()``."""

    def _send(self, email_message: EmailMessage) -> bool:
        octets = b"X-Signed: yes\n" + bytes(email_message.message())
        try:
            self.connection.sendmail(email_message.from_email, email_message.recipients(), octets)
        except smtplib.SMTPException:
            if not self.fail_silently:
                raise
            return False
        return True


def test_signing_backends_submit_through_the_facade(smtp_faults: ServerFactory) -> None:
    """connection.sendmail() submits with retries and a report on the message, as smtplib would have answered."""
    server = smtp_faults(Fault(At.DATA, Reset(), times=1))
    backend = backend_for(server, SigningBackend, pipelining=False)
    message = letter()
    assert backend.send_messages([message]) == 1
    assert server.accepted[-1].data.startswith(b"X-Signed: yes\r\n")
    assert vars(message)["smtp_report"].accepted == ("ann@example.org",)
    server.add_fault(Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bob"))
    backend.open()
    answer = backend.connection.sendmail(
        "Shop <s@example.org>", ["a@example.org", "bob@example.org"], b"Subject: x\n\n"
    )
    assert answer == {"bob@example.org": (550, b"5.1.1 no such user")}
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        backend.connection.sendmail("s@example.org", "bob@example.org", "Subject: x\r\n\r\n")
    with pytest.raises(smtplib.SMTPNotSupportedError, match="RET=FULL"):
        backend.connection.sendmail("s@example.org", "ann@example.org", b"\r\n", ["RET=FULL"])
    backend.close()


def test_misago_sends_many_at_once(smtp_faults: ServerFactory) -> None:
    """One failure does not lose the rest: all are tried, then the first error says how many were accepted."""
    server = smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bad"))
    messages = [letter(f"{name}@example.org") for name in ("a", "bad1", "b", "not an address", "bad2", "c")]
    messages[3].to = ["not an address"]
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        backend_for(server).send_messages(iter(messages))
    assert [accepted.forward_paths[0] for accepted in server.accepted] == [f"{n}@example.org" for n in "abc"]
    bulk = vars(refused.value)["bulk"]
    assert vars(refused.value)["accepted_count"] == bulk.accepted == 3
    assert (bulk.messages, bulk.failed) == (6, 3)
    assert sorted(messages.index(message) for message, _ in bulk.failures) == [1, 3, 4]
    assert "3 of 6 messages were accepted" in refused.value.__notes__[0]
    assert vars(messages[0])["smtp_report"].accepted
    assert vars(messages[3])["smtp_report"] is None
    quiet = backend_for(server, fail_silently=True)
    with pytest.raises(ValueError, match="Invalid address"):
        quiet.send_messages(messages)
    assert quiet.send_messages([letter("bad@example.org"), letter()]) == 1


def test_helpdesk_tells_network_errors_from_refusals() -> None:
    """A refused connection is an OSError that is no SMTPException."""
    with pytest.raises(ConnectionRefusedError) as raised:
        by_hand(RobustSMTPEmailBackend, **QUICK, **dead_port()).send_messages([letter()])
    assert not isinstance(raised.value, smtplib.SMTPException)


def test_an_overridden_open_is_called_as_django_calls_it(smtp_server: ScriptedServer) -> None:
    """A subclass that fetches its password in open() is asked first; open() giving None sends nothing."""

    class Fetching(RobustSMTPEmailBackend):
        def open(self) -> bool | None:
            self.host, self.port = smtp_server.host, smtp_server.port
            return super().open()

    backend = by_hand(Fetching, **QUICK, **dead_port())
    assert backend.send_messages([letter()]) == 1
    assert backend.connection is None
    vars(backend)["open"] = lambda: None
    backend.connection = object()
    assert backend.send_messages([letter()]) == 0


def test_a_connection_of_somebody_elses_is_used_as_django_would(smtp_server: ScriptedServer) -> None:
    """What was assigned to connection gets the mail by its sendmail(), and quit() at the end."""
    backend = by_hand(RobustSMTPEmailBackend, **QUICK, **dead_port())
    backend.connection = smtplib.SMTP(smtp_server.host, smtp_server.port)
    assert backend.send_messages([letter(), letter()]) == 2
    backend.close()
    assert len(smtp_server.accepted) == 2
    assert smtp_server.commands["QUIT"] == 1


def test_threads_share_a_backend(smtp_server: ScriptedServer) -> None:
    """A long-lived backend serves several threads, each message with its own report."""
    backend = backend_for(smtp_server, pool_size=3)
    messages = [letter(f"user{number}@example.org") for number in range(12)]
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda own: counts.append(sum(backend.send_messages([m]) for m in own)), args=(part,))
        for part in (messages[:4], messages[4:8], messages[8:])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [4, 4, 4]
    assert all(vars(message)["smtp_report"].accepted == tuple(message.to) for message in messages)
    assert smtp_server.connections <= 3


class MailingHandler(logging.Handler):
    """A log handler that mails what it is given through the default relay, as ``AdminEmailHandler`` does."""

    def __init__(self, build: Callable[[], RobustSMTPEmailBackend]) -> None:
        super().__init__(logging.WARNING)
        self.build = build
        self.results: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Mail it; errors rise, as Django's handler lets them from 6.1 on."""
        self.results.append(None)
        place = len(self.results) - 1
        self.results[place] = self.build().send_messages([letter("admin@example.org", headers={"X": record.name})])


@pytest.mark.parametrize("faults", [[Fault(At.AUTH, Reply("535 5.7.8 no"))], [Fault(At.RCPT, Reply("550 5.1.1 no"))]])
def test_a_handler_that_mails_our_errors_neither_recurses_nor_waits(faults: list[Fault]) -> None:
    """A mail about a relay's failure, through that relay, from a log handler, is let go: no recursion, no waiting."""
    with ScriptedServer(Script(faults=faults, accounts={"user": "secret"})) as server:

        def build() -> Any:  # noqa: ANN401 - a backend
            return backend_for(server, username="user", password="secret", pool_size=1, pool_timeout=30)

        handler = MailingHandler(build)
        logger = logging.getLogger("robust_email")
        logger.addHandler(handler)
        try:
            with pytest.raises(smtplib.SMTPException):
                build().send_messages([letter()])
        finally:
            logger.removeHandler(handler)
        assert handler.results
        assert set(handler.results) == {0}
        assert server.connections == 1


def test_a_handler_may_mail_through_another_relay(smtp_faults: ServerFactory) -> None:
    """The line about one relay may be mailed through another; when that fails too, there it ends."""
    failing = smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no")))
    for faults, expected in (((), 1), ((Fault(At.RCPT, Reply("550 5.1.1 no either")),), None)):
        other = smtp_faults(*faults)
        handler = MailingHandler(lambda other=other: backend_for(other))  # type: ignore[misc]  # binds the loop's server
        logger = logging.getLogger("robust_email")
        logger.addHandler(handler)
        try:
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                backend_for(failing).send_messages([letter()])
        finally:
            logger.removeHandler(handler)
        assert handler.results[0] == expected
        assert other.connections == 1


@pytest.mark.parametrize("way", ["settings", *(["mailers"] if _compat.HAS_MAILERS else [])])
def test_djangos_handler_for_admins_comes_to_an_end(way: str) -> None:
    """AdminEmailHandler on our own logger, mailing through the relay that fails: one error, one connection."""
    with ScriptedServer(Script(accounts={"user": "right"})) as server, contextlib.ExitStack() as stack:
        build = Ways(way, stack.enter_context(contextlib.ExitStack()))
        backend = build(**where(server), username="user", password="wrong")
        stack.enter_context(
            override_settings(ADMINS=[("Admin", "admin@example.org")] if OLD_ADMINS else ["admin@example.org"])
        )
        handler = AdminEmailHandler()
        handler.setLevel(logging.ERROR)
        logger = logging.getLogger("robust_email")
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            backend.send_messages([letter()])
        assert server.connections == 1

"""The relay in memory against the real engine and the real server: the same faults, the same reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage, send_mail

from robust_email import _compat, signals
from robust_email.registry import registry
from robust_email.smtp.errors import InDoubt
from robust_email.testing import At, Close, Fault, Reply, Reset, ScriptedServer, Stall, TakeThenClose
from robust_email.testing.assertions import assert_accepted_nothing, assert_accepted_once
from tests.contract.ways import PATH, legacy_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing.inmemory import InMemoryRelay

FAULTS = {
    "none": [],
    "busy once": [Fault(At.GREETING, Reply("421 4.3.2 too busy"), times=1)],
    "busy": [Fault(At.GREETING, Reply("421 4.3.2 too busy"))],
    "closes at EHLO": [Fault(At.EHLO, Close(), times=2)],
    "sender refused": [Fault(At.MAIL, Reply("550 5.1.8 bad sender"))],
    "sender later": [Fault(At.MAIL, Reply("451 4.1.8 later"))],
    "one refused": [Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bob")],
    "all deferred": [Fault(At.RCPT, Reply("450 4.2.1 greylisted"))],
    "mixed": [
        Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bob"),
        Fault(At.RCPT, Reply("450 4.2.1 later"), subject="cat"),
    ],
    "lost at RCPT": [Fault(At.RCPT, Close(), subject="bob", times=1)],
    "message refused": [Fault(At.BEFORE_FINAL, Reply("554 5.7.1 spam"))],
    "message later": [Fault(At.BEFORE_FINAL, Reply("452 4.3.1 disk full"))],
    "taken, then gone": [Fault(At.FINAL, TakeThenClose())],
    "reset before the end": [Fault(At.BEFORE_FINAL, Reset())],
}
PEOPLE = ["ann@example.net", "bob@example.net", "cat@example.net"]


@pytest.fixture(autouse=True)
def no_pool_left() -> Iterator[None]:
    """Leave no session for the next test."""
    yield
    registry.close()


def letter(*to: str) -> EmailMessage:
    """Make a message."""
    return EmailMessage("hi", "there", "shop@example.org", to or PEOPLE)


def outcome(message: EmailMessage) -> dict[str, Any]:
    """Send, and give all that a caller can learn."""
    heard: list[str] = []

    def listener(signal: object, **_: object) -> None:
        heard.append(next(name for name, each in vars(signals).items() if each is signal))

    for signal in (signals.accepted, signals.deferred, signals.refused, signals.in_doubt):
        signal.connect(listener)
    error, count = "", 0
    try:
        count = message.send()
    except OSError as exc:
        error = type(exc).__name__
    finally:
        for signal in (signals.accepted, signals.deferred, signals.refused, signals.in_doubt):
            signal.disconnect(listener)
    report = vars(message)["smtp_report"]
    return {
        "count": count,
        "error": error,
        "signals": sorted(heard),
        "attempts": [(each.phase, each.verdict is None) for each in report.attempts],
        "verdicts": {
            to: (
                each.disposition,
                each.scope,
                each.phase,
                each.reply and each.reply.code,
                str(each.reply and each.reply.enhanced),
            )
            for to, each in report.verdicts.items()
        },
    }


@pytest.mark.parametrize("world", FAULTS)
def test_reports_are_those_of_a_real_server(world: str, smtp_memory: InMemoryRelay) -> None:
    """Count, error, signals, attempts and each verdict are what the engine has over a socket."""
    for fault in FAULTS[world]:
        smtp_memory.add_fault(fault)
    in_memory = outcome(letter())
    taken = [each.forward_paths for each in smtp_memory.accepted]
    with ScriptedServer() as server:
        for fault in FAULTS[world]:
            server.add_fault(fault)
        where = {"EMAIL_HOST": server.host, "EMAIL_PORT": server.port, "EMAIL_PIPELINING": False}
        with legacy_settings(**where, EMAIL_BACKEND=PATH, EMAIL_CONNECTION_RETRY_DELAY=0.0, EMAIL_TIMEOUT=5):
            over_a_socket = outcome(letter())
        assert taken == [each.forward_paths for each in server.accepted]
    assert in_memory == over_a_socket


def test_what_was_accepted_is_kept_as_octets_and_as_message(smtp_memory: InMemoryRelay) -> None:
    """Django's own list has the message; the ledger has what a relay would have been given."""
    send_mail("Grüße", "there", "shop@example.org", ["ann@example.net"])
    [message] = mail.outbox
    taken = assert_accepted_once(smtp_memory, vars(message)["smtp_report"].message_id)
    assert (taken.reverse_path, taken.forward_paths) == ("shop@example.org", ("ann@example.net",))
    assert b"\r\nSubject: =?utf-8?" in taken.data
    smtp_memory.clear()
    assert_accepted_nothing(smtp_memory)


def test_a_mail_in_doubt_is_in_the_ledger(smtp_memory: InMemoryRelay) -> None:
    """The relay took it, the caller cannot know: exactly what such a test is about."""
    smtp_memory.add_fault(Fault(At.FINAL, TakeThenClose(), times=1))
    with pytest.raises(InDoubt):
        letter().send()
    assert len(smtp_memory.accepted) == 1
    assert mail.outbox == []
    smtp_memory.clear_faults()
    assert letter().send() == 1


def test_many_at_once(smtp_memory: InMemoryRelay) -> None:
    """A bulk counts what was accepted and raises for what was not, with the rest done."""
    smtp_memory.add_fault(Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bob"))
    with _compat.default_mailer() as connection, pytest.raises(OSError, match="no such user") as caught:
        connection.send_messages([letter(to) for to in PEOPLE])
    assert caught.value.bulk.accepted == 2  # type: ignore[attr-defined]  # it is put on whatever is raised
    assert len(smtp_memory.accepted) == 2


def test_opening_meets_the_faults_of_opening(smtp_memory: InMemoryRelay) -> None:
    """``open()`` fails where a session could not be had."""
    smtp_memory.add_fault(Fault(At.GREETING, Reply("554 5.3.2 go away")))
    with pytest.raises(OSError, match="go away"):
        _compat.default_mailer().open()


def test_what_needs_a_wire_is_refused(smtp_memory: InMemoryRelay) -> None:
    """A fault of time or octets says that it needs the real server."""
    with pytest.raises(TypeError, match="ScriptedServer"):
        smtp_memory.add_fault(Fault(At.FINAL, Stall()))
    with pytest.raises(TypeError, match="ScriptedServer"):
        smtp_memory.add_fault(Fault(At.IDLE, Reply("421 4.4.2 idle")))

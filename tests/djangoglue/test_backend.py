"""What a caller of the backend is told, and what is left on the message: reports, signals, partial acceptance."""

from __future__ import annotations

import itertools
import smtplib
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage

from robust_email import signals
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.bulk import MOST_FAILURES, BulkResult
from robust_email.smtp import Disposition, errors
from robust_email.testing import At, Close, Fault, Reply
from tests.contract.ways import by_hand, dead_port, letter, where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.dispatch import Signal

    from robust_email.testing import ScriptedServer
    from robust_email.testing.pytest_plugin import ServerFactory

NO_SUCH_USER = Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bad")
LATER = Fault(At.RCPT, Reply("450 4.2.1 later"), subject="busy")
ALL_SIGNALS = {
    "accepted": signals.accepted,
    "deferred": signals.deferred,
    "refused": signals.refused,
    "in_doubt": signals.in_doubt,
}


def backend_for(server: ScriptedServer, **more: Any) -> RobustSMTPEmailBackend:  # noqa: ANN401 - any option
    """Build a backend that retries without a pause."""
    built: RobustSMTPEmailBackend = by_hand(
        RobustSMTPEmailBackend, timeout=5, connection_retry_delay=0, **where(server), **more
    )
    return built


def to_three() -> EmailMessage:
    """Give a message to one good, one refused and one deferred recipient."""
    return EmailMessage("s", "b", "shop@example.org", ["ann@example.org", "bad@example.org", "busy@example.org"])


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Give the list of all signals that are sent during the test, with their arguments."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def listen(name: str, signal: Signal) -> None:
        def receiver(**arguments: Any) -> None:  # noqa: ANN401 - whatever is sent
            calls.append((name, arguments))

        signal.connect(receiver, weak=False, dispatch_uid=f"test {name}")

    for name, signal in ALL_SIGNALS.items():
        listen(name, signal)
    yield calls
    for name, signal in ALL_SIGNALS.items():
        signal.disconnect(dispatch_uid=f"test {name}")


def test_partial_acceptance_counts_by_default(
    smtp_faults: ServerFactory, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    """Something accepted: the count says 1, the report says the rest, and so do the signals."""
    message = to_three()
    assert backend_for(smtp_faults(NO_SUCH_USER, LATER)).send_messages([message]) == 1
    report = vars(message)["smtp_report"]
    assert (report.accepted, report.refused, report.deferred) == (
        ("ann@example.org",),
        ("bad@example.org",),
        ("busy@example.org",),
    )
    assert report.retryable == ("busy@example.org",)
    assert [name for name, _ in heard] == ["accepted", "deferred", "refused"]
    for _, arguments in heard:
        assert (arguments["sender"], arguments["message"], arguments["report"]) == (
            RobustSMTPEmailBackend,
            message,
            report,
        )


def test_partial_acceptance_raises_where_asked_for(smtp_faults: ServerFactory) -> None:
    """EMAIL_PARTIAL_FAILURE = "raise" turns it into PartlyAccepted, which is an SMTPException with the report."""
    backend = backend_for(smtp_faults(NO_SUCH_USER), partial_failure="raise")
    message = EmailMessage("s", "b", "shop@example.org", ["ann@example.org", "bad@example.org"])
    with pytest.raises(errors.PartlyAccepted) as partly:
        backend.send_messages([message])
    assert isinstance(partly.value, smtplib.SMTPException)
    assert partly.value.report is vars(message)["smtp_report"]
    backend.fail_silently = True
    assert backend.send_messages([message]) == 1


def test_in_doubt_is_raised_signalled_and_not_repeated(
    smtp_faults: ServerFactory, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    """A session lost after the end of data: InDoubt, one signal, and no second submission in this process."""
    server = smtp_faults(Fault(At.FINAL, Close()))
    message = letter()
    with pytest.raises(errors.InDoubt, match="IN DOUBT"):
        backend_for(server).send_messages([message])
    assert [name for name, _ in heard] == ["in_doubt"]
    assert len(server.accepted) == 1


def test_without_a_session_there_is_a_report_too(heard: list[tuple[str, dict[str, Any]]]) -> None:
    """Nobody listens: the report defers every recipient, and so does the signal."""
    message = to_three()
    backend = by_hand(RobustSMTPEmailBackend, timeout=5, connection_retry_delay=0, **dead_port())
    with pytest.raises(ConnectionRefusedError) as refused:
        backend.send_messages([message])
    report = vars(message)["smtp_report"]
    assert len(report.deferred) == 3
    causes = [refused.value.__cause__, refused.value.__cause__ and refused.value.__cause__.__cause__]
    assert any(isinstance(cause, ConnectionRefusedError) for cause in causes)
    assert [name for name, _ in heard] == ["deferred"]


def test_a_receiver_that_raises_costs_nothing(smtp_server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """A signal's receiver cannot undo a mail or cause a second one."""

    def receiver(**_: Any) -> None:  # noqa: ANN401 - whatever is sent
        raise RuntimeError("broken receiver")

    signals.accepted.connect(receiver)
    try:
        assert backend_for(smtp_server).send_messages([letter()]) == 1
    finally:
        signals.accepted.disconnect(receiver)
    assert len(smtp_server.accepted) == 1
    assert "broken receiver" in caplog.text


def test_a_bad_message_leaves_no_old_report(smtp_server: ScriptedServer) -> None:
    """A message that is sent again and is bad by then does not keep the report of before."""
    backend, message = backend_for(smtp_server), letter()
    backend.send_messages([message])
    assert vars(message)["smtp_report"].all_accepted
    message.to = ["not an address"]
    with pytest.raises(ValueError, match="Invalid address"):
        backend.send_messages([message])
    assert vars(message)["smtp_report"] is None


def test_many_go_through_one_session_in_a_window(smtp_server: ScriptedServer) -> None:
    """send_messages() of many uses one session unless told otherwise."""
    assert backend_for(smtp_server).send_messages([letter() for _ in range(50)]) == 50
    assert smtp_server.connections == 1


def test_many_may_use_several_sessions(smtp_server: ScriptedServer) -> None:
    """EMAIL_BULK_SESSIONS spreads a batch; each message is accepted once and has its own report."""
    messages = [letter(f"user{number}@example.org") for number in range(40)]
    assert backend_for(smtp_server, bulk_sessions=3).send_messages(messages) == 40
    assert sorted(accepted.forward_paths[0] for accepted in smtp_server.accepted) == sorted(m.to[0] for m in messages)
    assert all(vars(message)["smtp_report"].accepted == tuple(message.to) for message in messages)
    assert 1 <= smtp_server.connections <= 3


def test_an_iterator_is_taken_only_as_far_as_messages_are_under_way(smtp_server: ScriptedServer) -> None:
    """The iterator runs ahead of the server's acceptance by no more than the window."""
    ahead = []

    def messages() -> Iterator[EmailMessage]:
        for number in itertools.count():
            if number == 60:
                return
            ahead.append(number - len(smtp_server.accepted))
            yield letter()

    assert backend_for(smtp_server, bulk_window=4).send_messages(messages()) == 60
    assert max(ahead) <= 4 + 2


def test_a_long_iterator_is_not_held_in_memory(smtp_faults: ServerFactory) -> None:
    """Messages that are done are let go of, those that were refused included."""
    backend = backend_for(smtp_faults(NO_SUCH_USER), fail_silently=True, bulk_window=4)
    alive: weakref.WeakSet[EmailMessage] = weakref.WeakSet()
    most = []

    def messages() -> Iterator[EmailMessage]:
        for number in range(200):
            message = letter("bad@example.org" if number % 2 else "ann@example.org")
            alive.add(message)
            most.append(len(alive))
            yield message

    assert backend.send_messages(messages()) == 100
    assert max(most) < 20


def test_a_result_keeps_a_hundred_failures() -> None:
    """BulkResult counts all failures and keeps the first, in the caller's order."""
    result = BulkResult(messages=300)
    for number in reversed(range(300)):
        result.failure(number, letter(), ValueError(number))
    assert result.failed == 300
    assert len(result.failures) == MOST_FAILURES
    with pytest.raises(ValueError, match="200"):
        result.count()


def test_a_batch_without_a_relay_ends_soon() -> None:
    """When no session can be had, the whole batch is deferred after one round of attempts, not one per message."""
    backend = by_hand(RobustSMTPEmailBackend, timeout=5, connection_retry_delay=0, **dead_port())
    messages = [letter() for _ in range(200)]
    with pytest.raises(ConnectionRefusedError) as refused:
        backend.send_messages(messages)
    assert all(vars(message)["smtp_report"].decisive.disposition is Disposition.DEFERRED for message in messages)
    assert vars(refused.value)["bulk"].failed == 200


def test_an_error_in_the_callers_iterator_is_his(smtp_server: ScriptedServer) -> None:
    """What the iterator raises is raised, after what was under way is done; the next send works."""

    def messages() -> Iterator[EmailMessage]:
        yield letter()
        yield letter()
        raise KeyError("mine")

    backend = backend_for(smtp_server)
    with pytest.raises(KeyError, match="mine"):
        backend.send_messages(messages())
    assert backend.send_messages([letter()]) == 1


def test_a_mistake_found_before_the_network_is_never_silenced() -> None:
    """A bad setting raises in spite of fail_silently."""
    backend = by_hand(RobustSMTPEmailBackend, host="mail example", fail_silently=True)
    with pytest.raises(ImproperlyConfigured, match="host"):
        backend.send_messages([letter()])
    with pytest.raises(ImproperlyConfigured, match="host"):
        backend.open()


def test_open_waits_no_longer_than_the_timeout(smtp_server: ScriptedServer) -> None:
    """A test button is answered within EMAIL_TIMEOUT in total, though all sessions stay in use for longer."""
    options = {**where(smtp_server), "timeout": 0.3, "pool_size": 1, "pool_timeout": 8}
    busy = by_hand(RobustSMTPEmailBackend, **options)
    busy.open()
    busy.connection.mail("shop@example.org")
    began = time.monotonic()
    with pytest.raises(errors.PoolTimedOut):
        by_hand(RobustSMTPEmailBackend, **options).open()
    assert time.monotonic() - began < 4
    busy.close()

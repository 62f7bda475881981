"""What a relay's answers teach: what is pressure, how limits give way and come back, which pauses are kept."""

from __future__ import annotations

import pytest

from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.governor.adaptive import LEAST, Pressure, is_pressure, named_pause, refuses_login
from robust_email.smtp.outcome import classify_failure, classify_reply
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import Reply


@pytest.mark.parametrize(
    ("phase", "code", "text", "expected"),
    [
        (Phase.MAIL, 421, b"4.7.0 too many messages", True),
        (Phase.GREETING, 421, b"4.3.2 too many connections", True),
        (Phase.MAIL, 432, b"4.3.2 Concurrent connections limit exceeded", True),
        (Phase.DATA, 451, b"4.7.1 too much mail from you", True),
        (Phase.AWAIT_FINAL, 454, b"4.7.0 Throttling failure: Maximum sending rate exceeded.", True),
        (Phase.RCPT, 451, b"4.7.1 Greylisted, come back later", False),
        (Phase.RCPT, 450, b"4.2.0 mailbox busy", False),
        (Phase.AWAIT_FINAL, 451, b"4.3.0 disk full", False),
        (Phase.AWAIT_FINAL, 550, b"5.7.1 spam", False),
        (Phase.MAIL, 451, b"no enhanced code", False),
        (Phase.AWAIT_FINAL, 250, b"2.0.0 queued", False),
    ],
)
def test_only_what_asks_for_less_is_pressure(phase: Phase, code: int, text: bytes, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    """By code and enhanced code; greylisting and a full mailbox say nothing about how much is asked."""
    assert is_pressure(classify_reply(phase, Reply(code, (text,)))) is expected


@pytest.mark.parametrize("kind", FailureKind)
def test_a_relay_that_does_not_answer_is_under_pressure(kind: FailureKind) -> None:
    """Time-outs and refused connections are; a wrong name, a certificate, limits of our own are not."""
    expected = kind in {FailureKind.TIMEOUT, FailureKind.CONNECTION_REFUSED}
    assert is_pressure(classify_failure(Failure(kind, Phase.CONNECT, "x"))) is expected
    assert not is_pressure(classify_failure(Failure(kind, Phase.POOL, "x")))


@pytest.mark.parametrize(
    ("code", "text", "seconds"),
    [
        (421, b"4.7.0 Too many messages, try again in 60 seconds", 60),
        (421, b"4.7.0 retry after 5 minutes", 300),
        (451, b"4.7.1 Please wait 2 hours.", 3600),
        (451, b"4.7.650 try again later (AS712)", 0),
        (421, b"4.7.28 rate limited", 0),
        (550, b"5.7.1 blocked, try again in 60 seconds", 0),
        (421, b"4.7.0 closed after 30. Try mail 99999 times", 0),
    ],
)
def test_a_pause_that_a_reply_names_is_kept(code: int, text: bytes, seconds: float) -> None:
    """Number and unit behind a word for waiting; an hour at most, and only for pressure."""
    assert named_pause(classify_reply(Phase.MAIL, Reply(code, (text,)))) == seconds


def test_the_first_of_many_signs_lowers_and_as_many_successes_raise() -> None:
    """With N connections N signs of pressure cost one, at the first of them; N successes bring one back."""
    pressure = Pressure(concurrency=4)
    pressure.pressed("busy", 0, 4, 10.0)
    assert pressure.concurrency == 3
    for _ in range(2):
        pressure.pressed("busy", 0, 4, 10.1)
    assert pressure.concurrency == 3
    pressure.succeeded(2, 10, 30)
    assert pressure.concurrency == 3
    pressure.succeeded(1, 10, 30)
    assert pressure.concurrency == 4


def test_pressure_on_and_on_leaves_one_connection_and_a_little_of_the_rate() -> None:
    """Never nothing: a relay that is asked for nothing can't say that it is well."""
    pressure = Pressure(concurrency=50)
    for second in range(2_000):
        pressure.pressed("busy", 0, pressure.concurrency, 2.0 * second)
    assert pressure.concurrency == 1
    assert pressure.factor == LEAST
    pressure.succeeded(60, 50, 30)
    assert pressure.factor == 1.0


def test_a_burst_of_signs_cuts_the_rate_once() -> None:
    """Thirty sessions that hear of the same thing within a second are one piece of news."""
    pressure = Pressure(concurrency=30)
    for number in range(30):
        pressure.pressed("busy", 0, 30, 5.0 + number / 100)
    assert pressure.factor == pytest.approx(2 / 3)


def test_pressure_counts_from_what_was_in_use() -> None:
    """Where nobody set a limit, the first sign sets one below what the relay did not like."""
    pressure = Pressure(concurrency=10_000)
    pressure.pressed("busy", 0, 7, 1.0)
    assert pressure.concurrency == 6


def test_a_refused_log_in_holds_the_account_back_longer_each_time() -> None:
    """Refusals that were under way count once; a log-in that works forgets them."""
    pressure, now, pauses = Pressure(concurrency=3), 0.0, []
    for _ in range(10):
        pressure.login_refused("535 no", now)
        pressure.login_refused("535 no", now + 0.01)
        wait = pressure.login_pause(now)
        assert wait is not None
        pauses.append(wait.seconds)
        now += wait.seconds
        assert pressure.login_pause(now) is None
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    pressure.logged_in()
    pressure.login_refused("535 no", now)
    assert pressure.login_after == now + 5


def test_a_log_in_is_refused_by_a_reply_alone() -> None:
    """A time-out at AUTH is no refusal."""
    assert refuses_login(classify_reply(Phase.AUTH, Reply(535)))
    assert refuses_login(classify_reply(Phase.AUTH, Reply(454)))
    assert not refuses_login(classify_failure(Failure(FailureKind.TIMEOUT, Phase.AUTH, "x")))

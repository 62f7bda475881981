"""The pool on real sockets: bounded, shared without being lost or doubled, and never handing out what has died."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp import (
    Credentials,
    Deadline,
    Phase,
    PoolLimits,
    SubmissionClient,
    TlsMode,
    TlsPolicy,
    error_for,
)
from robust_email.smtp.errors import PoolTimedOut
from robust_email.smtp.events import AttemptFailed, SessionClosed
from robust_email.testing import (
    Action,
    At,
    Close,
    Extensions,
    Extra,
    Fault,
    Limits,
    Reply,
    Reset,
    Script,
    ScriptedServer,
)
from robust_email.testing.clock import FakeClock
from tests.submission.relay import AT_ONCE, TRANSPORTS, client_of, config_for, envelope, mail, submissions, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.smtp.events import Event
    from robust_email.testing.certs import CertificateAuthority


def test_a_hundred_mails_over_starttls_and_auth_open_one_connection(smtp_certs: CertificateAuthority) -> None:
    """Issue 2, done when 4: one TCP connection, one handshake, one log-in."""
    script = Script(starttls=smtp_certs.server_context(), accounts={"shop": "secret"}, require_auth=True)
    tls = TlsPolicy(TlsMode.STARTTLS, cafile=str(smtp_certs.ca_file))
    with (
        ScriptedServer(script) as server,
        client_of(server, tls=tls, credentials=Credentials("shop", "secret")) as client,
    ):
        reports = [client.submit(submission.envelope, submission.data) for submission in submissions(100)]
        assert all(report.all_accepted for report in reports)
        assert server.connections == 1
        assert server.commands["AUTH"] == 1
        assert all(message.encrypted and message.user == "shop" for message in server.accepted)
        stats = client.pool.stats()
        assert (stats.opened, stats.reused) == (1, 99)


def test_threads_share_a_bounded_pool_without_losing_or_doubling_a_session() -> None:
    """16 threads, 4 sessions: at no moment more than 4, nobody shares one, all mails arrive once, none stays leased."""
    in_use: set[int] = set()
    lock = threading.Lock()
    most = 0

    def work(number: int) -> None:
        nonlocal most
        for step in range(10):
            with client.lease() as session:
                with lock:
                    assert session.number not in in_use, "two threads hold one session"
                    in_use.add(session.number)
                    stats = client.pool.stats()
                    most = max(most, stats.leased + stats.idle)
                with lock:
                    in_use.discard(session.number)
            report = client.submit(envelope(), mail(1 + number * 10 + step))
            assert report.all_accepted

    with ScriptedServer() as server, client_of(server, pool=PoolLimits(size=4, max_messages=25)) as client:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(work, range(16)))
        stats = client.pool.stats()
        assert (stats.leased, stats.waiting) == (0, 0)
        assert stats.opened == server.connections
        assert most <= 4
        assert sorted(message.message_id for message in server.accepted) == sorted(
            f"<{n}@example.org>" for n in range(1, 161)
        )


def test_a_caller_waits_for_a_free_session_and_no_longer_than_told() -> None:
    """All leased: PoolTimedOut after pool.wait, and the session comes back to the pool, not to who stopped waiting."""
    limits = PoolLimits(size=1, wait=0.1)
    with ScriptedServer() as server, client_of(server, pool=limits) as client:
        with client.lease():
            began = time.monotonic()
            report = client.submit(envelope(), mail())
            assert 0.1 <= time.monotonic() - began < 2.0
            assert (report.decisive.phase, words(report)) == (Phase.POOL, {"ann": "deferred"})
            assert isinstance(error_for(report), PoolTimedOut)
            assert client.pool.stats().waiting == 0
        stats = client.pool.stats()
        assert (stats.leased, stats.idle) == (0, 1)
        assert client.submit(envelope(), mail()).all_accepted
        assert server.connections == 1


def test_a_deadline_shortens_the_wait() -> None:
    """The caller's deadline ends the wait for a session before pool.wait does."""
    with ScriptedServer() as server, client_of(server, pool=PoolLimits(size=1)) as client, client.lease():
        began = time.monotonic()
        assert not client.submit(envelope(), mail(), Deadline.after(0.05)).accepted
        assert time.monotonic() - began < 2.0


def test_waiters_are_served_in_turn() -> None:
    """Ten callers on one session: all get it, one after the other, over one connection."""
    with ScriptedServer() as server, client_of(server, pool=PoolLimits(size=1)) as client:
        with ThreadPoolExecutor(10) as threads:
            reports = list(threads.map(lambda n: client.submit(envelope(), mail(n)), range(10)))
        assert all(report.all_accepted for report in reports)
        assert server.connections == 1


class TimeIsUp(Exception):
    """As Celery's SoftTimeLimitExceeded: raised by a signal's handler, wherever the main thread is."""


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise ``TimeIsUp`` in the main thread after so long."""

    def handler(*_: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_waiter_that_is_interrupted_leaves_the_queue() -> None:
    """A signal's exception while waiting: the session that comes free goes to the pool, not to the one who left."""
    with ScriptedServer() as server, client_of(server, pool=PoolLimits(size=1)) as client:
        with client.lease():
            with pytest.raises(TimeIsUp), interrupted_after(0.05):
                client.submit(envelope(), mail())
            assert client.pool.stats().waiting == 0
        stats = client.pool.stats()
        assert (stats.leased, stats.idle) == (0, 1)
        assert client.submit(envelope(), mail()).all_accepted


@pytest.mark.parametrize("broken", [False, True])
def test_a_waiter_that_is_interrupted_while_being_served_passes_it_on(*, broken: bool) -> None:
    """The session, or the leave to open one, was given in the very moment of the interruption: it is not lost."""
    with ScriptedServer() as server, client_of(server, pool=PoolLimits(size=1)) as client:
        with client.lease() as session:
            _, waiter, _ = client.pool._decide(fresh=False)
            assert waiter is not None
            session.broken = broken
        assert waiter.served
        client.pool._stop_waiting(waiter)
        stats = client.pool.stats()
        assert (stats.leased, stats.waiting) == (0, 0)
        assert client.submit(envelope(), mail()).all_accepted


def test_a_submission_that_is_interrupted_costs_the_session_and_nothing_else() -> None:
    """A signal's exception while a reply is awaited: the session is not offered again, its place is free."""
    fault = Fault(At.BDAT, Reply(delay=5.0), times=1)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server, pool=PoolLimits(size=1)) as client:
        with pytest.raises(TimeIsUp), interrupted_after(0.1):
            client.submit(envelope(), mail(1))
        stats = client.pool.stats()
        assert (stats.leased, stats.idle) == (0, 0)
        assert client.submit(envelope(), mail(2)).all_accepted
        assert server.connections == 2


def test_an_opening_that_fails_gives_its_place_to_the_next() -> None:
    """One place: the first caller's opening is refused, and the one who waits for it opens in his place."""
    fault = Fault(At.GREETING, Reply("421 4.3.2 busy", delay=0.1), times=1)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server, pool=PoolLimits(size=1)) as client:
        with ThreadPoolExecutor(2) as threads:
            reports = list(threads.map(lambda n: client.submit(envelope(), mail(n)), range(2)))
        assert sorted(len(report.accepted) for report in reports) == [0, 1]
        assert client.pool.stats().leased == 0


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("action", [Close(), Reset(), Reply("421 4.4.2 idle too long"), Extra("250 hello?")])
def test_a_session_that_died_in_the_pool_is_seen_without_a_round_trip(
    action: Action, smtp_certs: CertificateAuthority, *, encrypted: bool
) -> None:
    """EOF, reset, a 421 or any other line while idle: the next mail takes a fresh session, at once and uncounted."""
    script = Script(starttls=smtp_certs.server_context() if encrypted else None)
    tls = TlsPolicy(TlsMode.STARTTLS if encrypted else TlsMode.NONE, cafile=str(smtp_certs.ca_file))
    events: list[Event] = []
    with ScriptedServer(script) as server:
        client = SubmissionClient(config_for(server, tls=tls), listener=events.append)
        assert client.submit(envelope(), mail(1)).all_accepted
        before = len(server.transcript().written)
        server.act(action)
        server.wait_for(lambda server: server.transcript().closed or len(server.transcript().written) > before)
        _until_readable(client)
        report = client.submit(envelope(), mail(2))
        assert report.all_accepted
        assert len(report.attempts) == 1
        assert server.connections == 2
        assert "RSET" not in server.transcript(1).verbs
        assert [event.reason for event in events if isinstance(event, SessionClosed)] == ["ended by the server"]
        assert not [event for event in events if isinstance(event, AttemptFailed)]
        client.close()


def _until_readable(client: SubmissionClient) -> None:
    """Wait until what the server did has come through the kernel; looks at the descriptor, reads nothing."""
    [session] = client.pool._idle
    session.dialogue.stream.wait(read=True, write=False, deadline=Deadline.after(5.0))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_session_that_dies_as_it_is_reused_costs_one_fresh_one(transport: str) -> None:
    """The race that no look can win: 421 in place of MAIL's reply. One fresh session, not counted as an attempt."""
    fault = Fault(At.MAIL, Reply("421 4.4.2 idle"), message=2, times=1)
    events: list[Event] = []
    with ScriptedServer(Script(extensions=TRANSPORTS[transport], faults=[fault])) as server:
        client = SubmissionClient(config_for(server), listener=events.append)
        assert client.submit(envelope(), mail(1)).all_accepted
        report = client.submit(envelope(), mail(2))
        assert report.all_accepted
        assert server.connections == 2
        assert not [event for event in events if isinstance(event, AttemptFailed)]
        assert [message.message_id for message in server.accepted] == ["<1@example.org>", "<2@example.org>"]
        client.close()


def test_the_fresh_session_is_free_once() -> None:
    """Every session dies at MAIL from the second mail on: one free retry, then a deferral, and no endless loop."""
    fault = Fault(At.MAIL, Reply("421 4.4.2 no"), skip=1)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server) as client:
        assert client.submit(envelope(), mail(1)).all_accepted
        report = client.submit(envelope(), mail(2))
        assert words(report) == {"ann": "deferred"}
        assert server.connections == 2


def _recycled(
    limits: PoolLimits, count: int, *, pause: float = 0.0, script: Script | None = None
) -> tuple[int, list[str]]:
    """Submit ``count`` mails with a pause before each; return the connections and why sessions ended."""
    clock = FakeClock()
    events: list[Event] = []
    with ScriptedServer(script) as server:
        config = config_for(server, pool=limits, retry=AT_ONCE)
        client = SubmissionClient(config, listener=events.append, clock=clock, sleep=clock.sleep)
        for number in range(count):
            clock.advance(pause)
            client.submit(envelope(), mail(number))
        reasons = [event.reason for event in events if isinstance(event, SessionClosed)]
        client.close()
        return server.connections, reasons


def test_a_session_ends_after_so_many_messages() -> None:
    """max_messages 3: ten mails take four sessions."""
    assert _recycled(PoolLimits(max_messages=3), 10) == (4, ["messages"] * 3)


def test_a_session_ends_when_it_was_idle_too_long() -> None:
    """max_idle 30 s: pauses of 29 s keep it, pauses of 31 s don't."""
    assert _recycled(PoolLimits(max_idle=30.0), 3, pause=29.0) == (1, [])
    assert _recycled(PoolLimits(max_idle=30.0), 3, pause=31.0) == (3, ["idle"] * 2)


def test_a_session_ends_of_age() -> None:
    """max_age 600 s, each session up to a tenth less: used every 20 s, the first ends between 540 and 600 s."""
    connections, reasons = _recycled(PoolLimits(max_age=600.0), 32, pause=20.0)
    assert (connections, reasons) == (2, ["age"])


def test_a_session_ends_after_refusals_in_a_row() -> None:
    """Servers count errors and close (Postfix after 20): four refused mails in a row end the session before they do."""
    refused = Script(faults=[Fault(At.RCPT, Reply("550 5.1.1 no"))])
    assert _recycled(PoolLimits(max_refusals=4), 9, script=refused) == (3, ["refusals"] * 2)
    seldom = Script(faults=[Fault(At.RCPT, Reply("550 5.1.1 no"), message=n) for n in (2, 3, 4, 6, 7, 8)])
    assert _recycled(PoolLimits(max_refusals=4), 9, script=seldom) == (1, [])


@pytest.mark.parametrize("extensions", TRANSPORTS.values(), ids=list(TRANSPORTS))
@pytest.mark.parametrize("reply", ["452 4.5.3 too many messages", "421 4.7.0 too many messages"])
def test_a_session_ends_where_the_server_takes_no_more(reply: str, extensions: Extensions) -> None:
    """OpenSMTPD's 452 on MAIL after so many, others' 421: a new session, and no mail is deferred for it."""
    script = Script(extensions=extensions, limits=Limits(messages=3, messages_reply=reply))
    with ScriptedServer(script) as server, client_of(server) as client:
        reports = [client.submit(envelope(), mail(n)) for n in range(8)]
        assert all(report.all_accepted for report in reports)
        assert server.connections == 3


def test_a_deferral_of_mail_on_a_new_session_is_one() -> None:
    """452 on the first MAIL is no limit of the session: it is the mail's verdict."""
    fault = Fault(At.MAIL, Reply("452 4.3.1 out of storage"))
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server, retry=AT_ONCE) as client:
        assert words(client.submit(envelope(), mail())) == {"ann": "deferred"}
        assert server.connections == 1


def test_a_refused_recipient_does_not_cost_the_session() -> None:
    """What concerns a recipient leaves the session as it was."""
    fault = Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server) as client:
        for number in range(3):
            assert words(client.submit(envelope("ann", "bad"), mail(number))) == {"ann": "accepted", "bad": "refused"}
        assert server.connections == 1


def test_closing_ends_the_idle_sessions_and_the_client_stays_usable() -> None:
    """QUIT is said and not awaited: a server that never answers it delays nobody."""
    fault = Fault(At.QUIT, Reply(delay=30.0))
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server) as client:
        assert client.submit(envelope(), mail(1)).all_accepted
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 1.0
        server.wait_for(lambda server: server.commands["QUIT"] == 1)
        assert client.pool.stats().idle == 0
        assert client.submit(envelope(), mail(2)).all_accepted


def test_what_happens_to_a_leased_session_concerns_that_session() -> None:
    """An exception in the caller's block costs it; a close of the pool meanwhile does not."""
    with ScriptedServer() as server, client_of(server) as client:
        with pytest.raises(LookupError), client.lease():
            raise LookupError
        assert client.pool.stats().idle == 0
        with client.lease():
            client.close()
        assert client.pool.stats().idle == 1
        assert server.connections == 2

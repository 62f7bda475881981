"""A batch over several sessions at once: each mail once, one report each, whatever one of the sessions meets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp import Deadline, PoolLimits, Submission
from robust_email.smtp.batch import Job
from robust_email.smtp.spread import Shared
from robust_email.testing import At, Close, Fault, Reply, Script, ScriptedServer
from tests.submission.relay import AT_ONCE, audit, client_of, envelope, mail, submissions, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@pytest.mark.parametrize("window", [1, 4])
def test_several_sessions_share_the_work(window: int) -> None:
    """100 mails over 4 sessions: each is accepted once and reported once, and the pool is at rest afterwards."""
    with ScriptedServer() as server, client_of(server) as client:
        finished = list(client.submit_many(submissions(100), sessions=4, window=window))
        assert sorted(int(str(submission.key)) for submission, _ in finished) == list(range(1, 101))
        assert audit([report for _, report in finished], server.accepted) == []
        assert all(report.all_accepted for _, report in finished)
        assert server.connections <= 4
        assert client.pool.stats().leased == 0


def test_no_more_sessions_than_the_pool_has() -> None:
    """Eight wanted, two allowed: nobody waits in vain for the pool, and nothing is put off for it."""
    with ScriptedServer() as server, client_of(server, pool=PoolLimits(size=2, wait=0.05)) as client:
        finished = list(client.submit_many(submissions(40), sessions=8))
        assert all(report.all_accepted for _, report in finished)
        assert server.connections <= 2


@pytest.mark.parametrize("allowed", [1, 2])
def test_a_relay_that_allows_fewer_sessions_gets_all_the_mail_over_those(allowed: int) -> None:
    """421 to every further greeting: who gets no session leaves its mails to those who have one."""
    refused = Fault(At.GREETING, Reply("421 4.7.0 too many connections"), skip=allowed)
    slow = Fault(At.MAIL, Reply(delay=0.01))
    with ScriptedServer(Script(faults=[refused, slow])) as server, client_of(server, retry=AT_ONCE) as client:
        finished = list(client.submit_many(submissions(40), sessions=4))
        assert sorted(int(str(submission.key)) for submission, _ in finished) == list(range(1, 41))
        assert all(report.all_accepted for _, report in finished)
        assert audit([report for _, report in finished], server.accepted) == []


def test_a_relay_that_allows_none_defers_everything_once() -> None:
    """No session to be had by any worker: every mail has exactly one report, DEFERRED by the greeting."""
    refused = Fault(At.GREETING, Reply("421 4.7.0 closed"))
    with ScriptedServer(Script(faults=[refused])) as server, client_of(server) as client:
        finished = list(client.submit_many(submissions(20), sessions=4))
        assert sorted(int(str(submission.key)) for submission, _ in finished) == list(range(1, 21))
        assert all(words(report) == {"ann": "deferred"} for _, report in finished)


def test_one_session_that_dies_costs_the_others_nothing() -> None:
    """The third connection's second mail is cut off: at most its window is in doubt, all others are accepted."""
    fault = Fault(At.MAIL, Close(), connection=3, message=2)
    slow = Fault(At.GREETING, Reply(delay=0.05), connection=1)
    with ScriptedServer(Script(faults=[fault, slow])) as server, client_of(server, retry=AT_ONCE) as client:
        finished = list(client.submit_many(submissions(60), sessions=4, window=2))
        reports = [report for _, report in finished]
        assert audit(reports, server.accepted) == []
        assert sum(bool(report.in_doubt) for report in reports) <= 2
        assert all(report.accepted or report.in_doubt for report in reports)


def test_what_a_worker_leaves_is_taken_by_one_who_thought_himself_done() -> None:
    """The iterable is at its end when a worker gives up: who is still there may not go before he has taken it over."""
    shared = Shared([], workers=2)
    assert list(shared) == []
    job = Job(next(submissions(1)), began=0.0)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(shared.leave_to_others, [job]).result()
        assert other.submit(shared.is_done).result(), "he who gave up is done"
    assert not shared.is_done()
    assert list(shared) == [job]
    assert not shared.leave_to_others([job]), "the last one has nobody to leave it to"
    assert shared.is_done()


def test_a_caller_who_stops_early_stops_the_workers() -> None:
    """After five results the caller leaves: what was under way ends, no thread stays, the pool is at rest."""
    drawn = 0

    def source() -> Iterator[Submission]:
        nonlocal drawn
        for submission in submissions(100_000):
            drawn += 1
            yield submission

    before = set(threading.enumerate())
    with ScriptedServer() as server, client_of(server) as client:
        serving = set(threading.enumerate()) - before
        results = client.submit_many(source(), sessions=3, window=2)
        for _ in range(5):
            next(results)
        results.close()
        mine = [each for each in set(threading.enumerate()) - before - serving if each.name.startswith("robust-email")]
        assert mine == []
        assert drawn < 1000
        assert client.pool.stats().leased == 0
        assert client.submit(envelope(), mail(200_000)).all_accepted


def test_an_error_of_the_iterable_comes_out_after_the_results() -> None:
    """The caller's generator fails in one of the threads: what was begun is reported, then the error is raised."""

    def source() -> Iterator[Submission]:
        yield from submissions(20)
        raise LookupError("no such row")

    reports = []
    with ScriptedServer() as server, client_of(server) as client:
        with pytest.raises(LookupError, match="no such row"):
            for _, report in client.submit_many(source(), sessions=3, window=2):
                reports.append(report)
        assert len(reports) == 20
        assert audit(reports, server.accepted) == []


def test_an_error_of_the_hook_stops_every_session() -> None:
    """before_final raises in one thread: the others end what they have, the error is raised, nothing more is begun."""
    seen = threading.Semaphore(10)

    def before_final(mails: Sequence[Submission]) -> None:
        for _ in mails:
            if not seen.acquire(blocking=False):
                raise PermissionError("enough")

    reports = []
    with ScriptedServer() as server, client_of(server) as client:
        with pytest.raises(PermissionError, match="enough"):
            for _, report in client.submit_many(submissions(10_000), sessions=3, before_final=before_final):
                reports.append(report)
        assert len(reports) == 10
        assert audit(reports, server.accepted) == []
        assert client.pool.stats().leased == 0


def test_a_deadline_ends_all_sessions() -> None:
    """With the time over, what is left of the iterable is DEFERRED, not begun."""
    slow = Fault(At.MAIL, Reply(delay=0.02))
    with ScriptedServer(Script(faults=[slow])) as server, client_of(server) as client:
        finished = list(client.submit_many(submissions(200), sessions=2, deadline=Deadline.after(0.3)))
        reports = [report for _, report in finished]
        assert len(reports) == 200
        assert audit(reports, server.accepted) == []
        assert sum(bool(report.in_doubt) for report in reports) <= 2
        assert 0 < len(server.accepted) < 200

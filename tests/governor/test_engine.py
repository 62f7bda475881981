"""What a client does with a governor's answers: waits without a session, defers without an attempt, learns."""

from __future__ import annotations

import dataclasses
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from robust_email.smtp import (
    Credentials,
    CredentialsUnavailable,
    Deadline,
    OpeningRetry,
    PoolLimits,
    SubmissionClient,
    TlsMode,
    TlsPolicy,
)
from robust_email.smtp.events import AttemptFailed, CircuitClosed, CircuitOpened, HeldBack, SessionClosed
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.governor import (
    BreakerPolicy,
    Lane,
    MemoryStore,
    Observation,
    Probe,
    Rate,
    RelayLimits,
    SharedGovernor,
)
from robust_email.smtp.governor.breaker import shows_endpoint_well, speaks_of_endpoint
from robust_email.smtp.outcome import Disposition, Scope, classify_failure
from robust_email.smtp.phases import Phase
from robust_email.testing import At, Fault, Reply, Script, ScriptedServer
from tests.submission.relay import ONCE, config_for, envelope, mail, submissions, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.smtp.events import Event
    from robust_email.smtp.governor import Store
    from robust_email.smtp.session import Session
    from tests.submission.relay import Fields

CALM = BreakerPolicy(failures=100)


class Worker:
    """A client with a governor of its own over a shared store, as a process would have, and what it heard."""

    def __init__(
        self,
        server: ScriptedServer,
        store: Store,
        limits: RelayLimits,
        *,
        pool: PoolLimits,
        retry: OpeningRetry = ONCE,
        fields: Fields | None = None,
    ) -> None:
        self.heard: list[Event] = []
        self.slept: list[tuple[float, int]] = []
        """Each wait with the number of sessions leased meanwhile."""
        config = dataclasses.replace(config_for(server, pool=pool, retry=retry), **(fields or {}))
        self.governor = SharedGovernor(
            config.endpoint, config.endpoint, limits, store, listener=self.heard.append, dice=lambda: 0.0
        )
        self.client = SubmissionClient(
            config, governor=self.governor, listener=self.heard.append, sleep=self._sleep, dice=lambda: 0.0
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append((seconds, self.client.pool.stats().leased))
        threading.Event().wait(seconds)

    def submit(self, number: int = 1, **how: Any) -> Any:  # noqa: ANN401 - submit()'s own
        """Submit a mail with this number."""
        return self.client.submit(envelope(), mail(number), **how)

    def events(self, kind: type[Event]) -> list[Any]:
        """What was heard of one kind."""
        return [event for event in self.heard if isinstance(event, kind)]


@contextmanager
def workers(
    server: ScriptedServer,
    limits: RelayLimits,
    count: int = 1,
    wait: float = 5.0,
    **more: Any,  # noqa: ANN401 - Worker's
) -> Iterator[list[Worker]]:
    """Give some that share a store."""
    store = MemoryStore()
    made = [Worker(server, store, limits, pool=PoolLimits(wait=wait), **more) for _ in range(count)]
    try:
        yield made
    finally:
        for worker in made:
            worker.client.close()


def test_mail_waits_its_turn_with_no_session_held(smtp_server: ScriptedServer) -> None:
    """Over the limit a batch waits and goes on, and all that time its session is free for others."""
    limits = RelayLimits(rates=(Rate(3, 0.3),))
    with workers(smtp_server, limits) as [worker]:
        reports = [report for _, report in worker.client.submit_many(submissions(7), window=4)]
    assert [words(report) for report in reports] == [{"ann": "accepted"}] * 7
    assert worker.slept
    assert {leased for _, leased in worker.slept} == {0}
    assert worker.events(HeldBack)
    assert smtp_server.connections == 1


def test_mail_whose_turn_cannot_come_in_time_is_deferred_and_uses_up_no_attempt(smtp_server: ScriptedServer) -> None:
    """At once, without a connection or a wait, with a verdict that says when to come again."""
    limits = RelayLimits(rates=(Rate(1, 3600),))
    with workers(smtp_server, limits, wait=0.5) as [worker]:
        worker.submit(1)
        began = time.monotonic()
        reports = [worker.submit(2), *(report for _, report in worker.client.submit_many(submissions(3)))]
        assert time.monotonic() - began < 0.5
    for report in reports:
        verdict = report.decisive
        assert (verdict.disposition, verdict.scope, verdict.phase) == (Disposition.DEFERRED, Scope.ENDPOINT, Phase.POOL)
        assert verdict.failure.kind is FailureKind.THROTTLED
        assert 3000 < verdict.failure.retry_after < 4000
    assert smtp_server.commands["MAIL"] == 1
    assert worker.slept == []


def test_a_deadline_bounds_the_wait(smtp_server: ScriptedServer) -> None:
    """Mail that would have to wait longer than its caller can is deferred at once."""
    with workers(smtp_server, RelayLimits(rates=(Rate(1, 2.0),)), wait=30) as [worker]:
        worker.submit(1)
        report = worker.submit(2, deadline=Deadline.after(1.0))
    assert report.decisive.failure.kind is FailureKind.THROTTLED
    assert worker.slept == []


def test_a_retry_is_counted_again(smtp_server: ScriptedServer) -> None:
    """The provider counts each MAIL, so do we: a mail that was tried twice has used up two."""
    smtp_server.add_fault(Fault(At.MAIL, Reply("421 4.3.0 restarting"), times=1))
    limits = RelayLimits(rates=(Rate(100, 3600),), breaker=CALM)
    with workers(smtp_server, limits, retry=OpeningRetry(attempts=2, delay=0.0)) as [worker]:
        assert words(worker.submit()) == {"ann": "accepted"}
        assert worker.governor.state().rates[0].used == 2


def test_workers_together_have_no_more_connections_than_allowed(smtp_server: ScriptedServer) -> None:
    """Each gets one in its turn; one that is idle elsewhere is given up as soon as it is wanted."""
    limits = RelayLimits(connections=1, lease=2.0)
    with workers(smtp_server, limits, count=3) as [first, second, third]:
        assert words(first.submit(1)) == words(second.submit(2)) == words(third.submit(3)) == {"ann": "accepted"}
    assert [event.reason for event in first.events(SessionClosed)] == ["wanted elsewhere"]
    assert smtp_server.connections == 3
    assert [transcript.closed for transcript in smtp_server.transcripts[:2]] == [True, True]


def test_threads_of_one_worker_hand_sessions_on_instead_of_competing(smtp_server: ScriptedServer) -> None:
    """The pool is no larger than the limit, so that ten threads share two sessions and open no third."""
    with workers(smtp_server, RelayLimits(connections=2)) as [worker]:
        threads = [threading.Thread(target=worker.submit, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert worker.client.pool.stats().size == 2
    assert len(smtp_server.accepted) == 10
    assert smtp_server.connections <= 2


def test_bulk_under_way_gives_way_to_priority(smtp_server: ScriptedServer) -> None:
    """A newsletter holds the only connection; a reset asks for it and is out long before the newsletter is."""
    limits = RelayLimits(connections=1, lease=1.0, turn=60.0)
    smtp_server.add_fault(Fault(At.MAIL, Reply(delay=0.02)))
    with workers(smtp_server, limits, count=2, wait=30.0) as [bulk, urgent]:
        many = (dataclasses.replace(each, lane=Lane.BULK) for each in submissions(90))
        letter = threading.Thread(target=lambda: list(bulk.client.submit_many(many)))
        letter.start()
        smtp_server.wait_for(lambda server: len(server.accepted) >= 3)
        report = urgent.submit(999, lane=Lane.PRIORITY)
        behind = len(smtp_server.accepted)
        letter.join()
    assert words(report) == {"ann": "accepted"}
    assert behind < 80
    assert len(smtp_server.accepted) == 91


def test_an_open_circuit_costs_nobody_a_connection() -> None:
    """After the failures that open it, mail is deferred at once; the probe that finds the relay well closes it."""
    limits = RelayLimits(breaker=BreakerPolicy(failures=3, cooldown=0.3), adaptive=False)
    down = Fault(At.GREETING, Reply("421 4.3.2 down"))
    with ScriptedServer(Script(faults=[down])) as server, workers(server, limits, count=2) as [one, two]:
        assert [one.submit(number).retryable for number in range(3)] == [("ann@example.org",)] * 3
        assert server.connections == 3
        for worker in (one, two):
            verdict = worker.submit(4).decisive
            assert verdict.failure.kind is FailureKind.THROTTLED
            assert "421 4.3.2 down" in verdict.reason
        assert server.connections == 3
        assert len(one.events(CircuitOpened)) == 1
        assert two.events(CircuitOpened) == []
        server.clear_faults()
        while not two.submit(5).accepted:
            threading.Event().wait(0.02)
        assert words(one.submit(6)) == {"ann": "accepted"}
        [closed] = two.events(CircuitClosed)
        assert closed.outage >= 0.3


class NoToken:
    """A source of credentials whose token server is down."""

    def credentials(self, seconds: float) -> Credentials:
        """Have none."""
        raise CredentialsUnavailable(f"no token within {seconds:.0f} s", permanent=False)

    def refused(self, _: Credentials) -> bool:
        """Have no others."""
        return False

    def still_good(self, _: Credentials) -> bool:
        """Know nothing against them."""
        return True


ENDS: dict[str, Fields] = {
    "STARTTLS not offered": {"tls": TlsPolicy(TlsMode.STARTTLS)},
    "AUTH not offered": {"credentials": Credentials("ann", "secret"), "allow_clear_text_auth": True},
    "token server down": {"credentials": Credentials("ann", provider=NoToken()), "allow_clear_text_auth": True},
}


@pytest.mark.parametrize("end", ["STARTTLS not offered", "AUTH not offered", "token server down", "interrupted"])
def test_a_probe_that_says_nothing_of_the_endpoint_keeps_nobody_out(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes next is the next probe, and need not wait until a lost probe is given up, a minute later."""
    limits = RelayLimits(breaker=BreakerPolicy(failures=1, cooldown=0.01), adaptive=False)
    script = Script(accounts={"ann": "secret"} if end == "token server down" else {})
    with ScriptedServer(script) as server, workers(server, limits, fields=ENDS.get(end)) as [unlucky]:
        unlucky.governor.observe(Observation(classify_failure(Failure(FailureKind.TIMEOUT, Phase.CONNECT, "x"))))
        assert unlucky.governor.state().circuit == "open"
        threading.Event().wait(0.05)
        if end == "interrupted":
            monkeypatch.setattr(unlucky.client, "_open_now", interrupted)
            with pytest.raises(KeyboardInterrupt):
                unlucky.submit(2)
        else:
            verdict = unlucky.submit(2).decisive
            assert not speaks_of_endpoint(verdict)
            assert not shows_endpoint_well(verdict)
        assert unlucky.governor.state().circuit == "open"
        assert isinstance(unlucky.governor.circuit(), Probe)


def interrupted(*_: object) -> Session:
    """Somebody pressed Ctrl-C while a session was opened."""
    raise KeyboardInterrupt


def test_recipients_that_are_refused_open_no_circuit(smtp_server: ScriptedServer) -> None:
    """Twenty unknown users in a row: the relay is as well as before."""
    smtp_server.add_fault(Fault(At.RCPT, Reply("550 5.1.1 unknown")))
    limits = RelayLimits(breaker=BreakerPolicy(failures=1))
    with workers(smtp_server, limits) as [worker]:
        assert {words(worker.submit(number))["ann"] for number in range(20)} == {"refused"}
        assert worker.governor.state().circuit == "closed"


def test_a_relay_that_is_asked_too_much_is_asked_less_and_again_more(smtp_server: ScriptedServer) -> None:
    """421 "too many" halves neither for ever: the rate is cut, and comes back with success."""
    smtp_server.add_fault(Fault(At.MAIL, Reply("421 4.7.0 too many messages"), times=1))
    limits = RelayLimits(rates=(Rate(30, 2.0),), breaker=CALM)
    with workers(smtp_server, limits) as [worker]:
        worker.submit(1)
        assert worker.governor.state().rates[0].allowed == 20
        for number in range(40):
            assert words(worker.submit(number)) == {"ann": "accepted"}
            worker.governor._told_at = float("-inf")  # tell at once what is otherwise told twice a second
        assert worker.governor.state().rates[0].allowed > 25


def test_a_pause_that_the_relay_names_is_kept_by_all(smtp_server: ScriptedServer) -> None:
    """A reply "try again in 1 hour", said to one worker, holds back the other, with the relay's words as the reason."""
    smtp_server.add_fault(Fault(At.MAIL, Reply("451 4.7.1 too much, try again in 1 hour"), times=1))
    with workers(smtp_server, RelayLimits(breaker=CALM), count=2) as [one, two]:
        one.submit(1)
        verdict = two.submit(2).decisive
    assert "try again in 1 hour" in verdict.reason
    assert 3500 < verdict.failure.retry_after <= 3600
    assert smtp_server.commands["MAIL"] == 1


def test_what_a_client_hears_of_a_wait_holds_no_address(smtp_server: ScriptedServer) -> None:
    """A reply that repeats an address is shortened before others read it."""
    smtp_server.add_fault(Fault(At.MAIL, Reply("421 4.7.0 shop@example.org sends too much, wait 60 s"), times=1))
    with workers(smtp_server, RelayLimits(breaker=CALM)) as [worker]:
        worker.submit(1)
        reason = worker.submit(2).decisive.reason
    assert "sends too much" in reason
    assert "shop@example.org" not in reason


def test_a_child_process_holds_nothing_of_its_parent_s(smtp_server: ScriptedServer) -> None:
    """After a fork the child neither renews nor releases what the parent holds."""
    with workers(smtp_server, RelayLimits(connections=3)) as [worker]:
        worker.submit(1)
        before = dict(worker.governor._holds)
        worker.governor.forget_after_fork()
        assert before
        assert worker.governor.beat() is False
        assert worker.governor.state().connections == 0


@pytest.mark.parametrize("wanted", [AttemptFailed])
def test_being_held_back_is_told_as_a_failed_attempt_without_a_connection(
    smtp_server: ScriptedServer, wanted: type[Event]
) -> None:
    """Whoever reads the log sees why nothing goes."""
    with workers(smtp_server, RelayLimits(rates=(Rate(1, 3600),))) as [worker]:
        worker.submit(1)
        worker.submit(2)
    [failed] = worker.events(wanted)
    assert failed.retry_in is None
    assert "held back: the limit of 1/h is used up" in failed.verdict.reason

"""The circuit: what opens it, who may try, what closes it."""

from __future__ import annotations

import itertools

import pytest

from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.governor import BreakerPolicy, Probe, Wait
from robust_email.smtp.governor.breaker import Circuit, shows_endpoint_well, speaks_of_endpoint
from robust_email.smtp.outcome import Scope, classify_failure, classify_reply
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import Reply

POLICY = BreakerPolicy(failures=3, cooldown=1.0, longest_cooldown=8.0, probe=60.0)


def opened(now: float = 100.0) -> Circuit:
    """A circuit that has just opened."""
    circuit = Circuit()
    assert [circuit.failed(POLICY, "refused", now, 0.0) for _ in range(3)] == [False, False, True]
    return circuit


def test_it_opens_after_so_many_faults_in_a_row() -> None:
    """A success between them, or a long time, starts the count anew."""
    circuit = Circuit()
    for outcome in "ff.ff.ff":
        if outcome == ".":
            circuit.succeeded(1)
        else:
            assert not circuit.failed(POLICY, "refused", 1, 0.0)
    assert not circuit.failed(POLICY, "refused", 1 + POLICY.memory + 1, 0.0)
    assert circuit.ask(POLICY, 100, "a") is None


def test_one_caller_at_a_time_may_try() -> None:
    """After the cool-down the first who asks is the probe, and all others wait for what he finds."""
    circuit = opened()
    assert isinstance(circuit.ask(POLICY, 100.5, "a"), Wait)
    assert isinstance(circuit.ask(POLICY, 101, "a"), Probe)
    assert circuit.standing == "half-open"
    assert [type(circuit.ask(POLICY, 101 + i, "a")) for i in range(50)] == [Wait] * 50
    assert isinstance(circuit.ask(POLICY, 101 + POLICY.probe, "a"), Probe), "the first probe has died"


def test_a_probe_that_fails_doubles_the_pause() -> None:
    """Up to the longest, and the reason that is shown is the latest."""
    circuit, now, pauses = opened(), 100.0, []
    for number in range(6):
        wait = circuit.ask(POLICY, now, "a")
        assert isinstance(wait, Wait)
        pauses.append(wait.seconds)
        now += wait.seconds
        probe = circuit.ask(POLICY, now, f"try {number}")
        assert isinstance(probe, Probe)
        circuit.failed(POLICY, f"fault {number}", now, 0.0, probe)
    assert pauses == [1, 2, 4, 8, 8, 8]
    assert circuit.reason == "fault 5"


def test_an_hour_out_is_seen_by_probes_alone() -> None:
    """Eight callers that ask every second: one probe after each pause, 1, 2, 4 and 8 seconds and then every 8."""
    circuit, probes = opened(), []
    for now in range(101, 3_700):
        for _ in range(8):
            if isinstance(probe := circuit.ask(POLICY, now, "a"), Probe):
                probes.append(now)
                circuit.failed(POLICY, "refused", now, 0.0, probe)
    assert probes == [101, 103, *range(107, 3_700, 8)]
    assert circuit.succeeded(3_700) == 3_600
    assert circuit.ask(POLICY, 3_700, "a") is None


def test_late_news_does_not_prolong_the_outage() -> None:
    """Attempts that were under way when it opened fail later; the next probe comes when it would have come."""
    circuit = opened()
    for _ in range(20):
        circuit.failed(POLICY, "late", 100.9, 0.0)
    assert isinstance(circuit.ask(POLICY, 101, "a"), Probe)


def test_late_news_does_not_end_somebody_elses_probe() -> None:
    """While one tries, what others find out later neither lets a second one try nor counts as his failure."""
    circuit = opened()
    late = circuit.ask(POLICY, 101, "late")
    assert isinstance(late, Probe)
    probe = circuit.ask(POLICY, 101 + POLICY.probe, "next")
    assert isinstance(probe, Probe)
    for who in (None, late, Probe()):
        assert not circuit.failed(POLICY, "late", 162, 0.0, who)
        circuit.give_back(who or Probe("nobody"))
    assert (circuit.standing, circuit.cooldown, circuit.reason) == ("half-open", POLICY.cooldown, "refused")
    assert isinstance(circuit.ask(POLICY, 163, "third"), Wait)
    circuit.failed(POLICY, "still out", 163, 0.0, probe)
    assert (circuit.standing, circuit.cooldown, circuit.reason) == ("open", 2 * POLICY.cooldown, "still out")


def test_a_probe_that_found_nothing_out_makes_room_for_the_next() -> None:
    """At once, since the relay may be well; the pause is not doubled, and only his own place can be given back."""
    circuit = opened()
    probe = circuit.ask(POLICY, 101, "a")
    assert isinstance(probe, Probe)
    circuit.give_back(probe)
    assert circuit.standing == "open"
    following = circuit.ask(POLICY, 101, "b")
    assert isinstance(following, Probe)
    circuit.give_back(probe)
    assert isinstance(circuit.ask(POLICY, 101, "c"), Wait)
    circuit.failed(POLICY, "refused", 101, 0.0, following)
    circuit.give_back(following)
    wait = circuit.ask(POLICY, 101, "d")
    assert wait == Wait(2.0, "the relay has been out for 1 s and is tried by one at a time: refused")


def test_the_first_success_closes_it() -> None:
    """Everybody may go at once, and how long it was out is known."""
    circuit = opened()
    assert circuit.succeeded(160) == 60
    assert circuit.ask(POLICY, 160, "a") is None
    assert circuit.succeeded(161) is None


@pytest.mark.parametrize(("phase", "kind"), list(itertools.product(Phase, FailureKind)))
def test_only_the_endpoint_s_own_faults_count(phase: Phase, kind: FailureKind) -> None:
    """A fault counts where its verdict is about the endpoint: never a full pool, a limit of ours, an account."""
    verdict = classify_failure(Failure(kind, phase, "x"))
    counts = verdict.scope is Scope.ENDPOINT and phase not in {Phase.POOL, Phase.AUTH}
    assert speaks_of_endpoint(verdict) is counts
    assert not shows_endpoint_well(verdict)


@pytest.mark.parametrize("code", [421, 450, 451, 452, 454, 535, 550, 552, 554])
@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.AWAIT_FINAL])
def test_a_refused_mail_or_recipient_never_counts(phase: Phase, code: int) -> None:
    """Whatever is said about a mail, the relay is there to say it."""
    assert not speaks_of_endpoint(classify_reply(phase, Reply(code, (b"4.2.0 no",))))


def test_a_refused_log_in_shows_that_the_endpoint_is_there() -> None:
    """A probe that is told 535 has found the relay well: the account is another matter."""
    assert shows_endpoint_well(classify_reply(Phase.AUTH, Reply(535, (b"5.7.8 no",))))
    assert not shows_endpoint_well(classify_reply(Phase.GREETING, Reply(421, (b"4.3.2 later",))))

"""What becomes of a row after an attempt: by example, and for all combinations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.outbox.models import DoubtPolicy
from robust_email.outbox.states import TRANSITIONS, Event, State
from robust_email.outbox.verdicts import Decision, LongRun, Standing, decide, is_open, standing_of
from robust_email.smtp import Disposition, Phase, Schedule, Scope, Verdict

RESEND, HOLD = DoubtPolicy.RESEND, DoubtPolicy.HOLD


def verdict(disposition: str, scope: Scope = Scope.TRANSACTION) -> Verdict:
    """Make one."""
    return Verdict(Disposition(disposition), scope, Phase.RCPT)


def long_run(*, policy: DoubtPolicy = RESEND, retries: int = 0, age: float = 0.0) -> LongRun:
    """Make the rules of a mail with two retries."""
    return LongRun(policy, Schedule(delays=(60.0, 120.0), jitter=0.5), retries, age, outage_patience=1_000.0)


def decided(*dispositions: str, scope: Scope = Scope.TRANSACTION, **rules: Any) -> Decision:  # noqa: ANN401 - long_run's
    """Decide on a first attempt at a mail whose recipients had these verdicts."""
    verdicts = {str(number): verdict(each, scope) for number, each in enumerate(dispositions)}
    standings = [standing_of(each) for each in verdicts.values()]
    return decide(standings, verdicts, long_run(**rules), lambda: 0.5)


@pytest.mark.parametrize(
    ("dispositions", "rules", "event", "delay"),
    [
        (["accepted"], {}, Event.ACCEPT, None),
        (["accepted", "refused"], {}, Event.ACCEPT_PARTLY, None),
        (["refused", "refused"], {}, Event.REFUSE, None),
        (["deferred"], {}, Event.DEFER, 60.0),
        (["deferred"], {"retries": 1}, Event.DEFER, 150.0),
        (["deferred"], {"retries": 2}, Event.GIVE_UP, None),
        (["accepted", "deferred"], {"retries": 2}, Event.ACCEPT_PARTLY, None),
        (["refused", "deferred"], {"retries": 2}, Event.GIVE_UP, None),
        (["in-doubt"], {}, Event.DEFER, 60.0),
        (["in-doubt"], {"policy": HOLD}, Event.HOLD, None),
        (["in-doubt", "deferred"], {"policy": HOLD}, Event.DEFER, 60.0),
        (["in-doubt"], {"retries": 2}, Event.HOLD, None),
        (["accepted", "in-doubt"], {"policy": HOLD}, Event.HOLD, None),
    ],
)
def test_decision(dispositions: list[str], rules: dict[str, Any], event: Event, delay: float | None) -> None:
    """Each outcome leads where delivery semantics say."""
    decision = decided(*dispositions, **rules)
    assert (decision.event, decision.delay) == (event, delay)


def test_configuration_uses_no_retry() -> None:
    """A refused password makes the mail wait for its relay, however many retries it has used and however old it is."""
    decision = decided("refused", scope=Scope.CONFIGURATION, retries=2, age=1e9)
    assert decision == decided("deferred", scope=Scope.CONFIGURATION)
    assert (decision.event, decision.uses_retry, decision.waits_for_relay) == (Event.DEFER, False, True)


def test_an_outage_uses_no_retry_while_patience_lasts() -> None:
    """A relay that cannot be had costs no retry, until the mail is too old; then the schedule counts."""
    early = decided("deferred", scope=Scope.ENDPOINT, retries=2, age=999.0)
    assert (early.event, early.uses_retry, early.waits_for_relay) == (Event.DEFER, False, True)
    late = decided("deferred", scope=Scope.ENDPOINT, retries=1, age=1_001.0)
    assert (late.delay, late.uses_retry, late.waits_for_relay) == (150.0, True, True)
    assert decided("deferred", scope=Scope.ENDPOINT, retries=2, age=1_001.0).event == Event.GIVE_UP


verdicts = st.builds(Verdict, st.sampled_from(Disposition), st.sampled_from(Scope), st.sampled_from(Phase))


@given(
    settled=st.lists(st.sampled_from([Standing.ACCEPTED, Standing.REFUSED]), max_size=3),
    attempted=st.lists(verdicts, min_size=1, max_size=4),
    policy=st.sampled_from(DoubtPolicy),
    retries=st.integers(0, 3),
    age=st.floats(0, 5_000),
    dice=st.floats(0, 0.999),
)
def test_every_decision_is_legal_and_true(  # noqa: PLR0917 - hypothesis passes by name
    settled: list[Standing], attempted: list[Verdict], policy: DoubtPolicy, retries: int, age: float, dice: float
) -> None:
    """A mail goes on only for somebody who may be named again; ACCEPT means all, REFUSE means all; retries end."""
    standings = [*settled, *map(standing_of, attempted)]
    by_address = {str(number): each for number, each in enumerate(attempted)}
    decision = decide(standings, by_address, long_run(policy=policy, retries=retries, age=age), lambda: dice)
    assert decision.event in TRANSITIONS[State.DATA_STARTED]
    still_open = any(is_open(standing, policy) for standing in standings)
    if decision.event is Event.DEFER:
        assert still_open
        assert decision.delay is None or 60 <= decision.delay <= 180
        assert retries < 2 or decision.waits_for_relay
    if decision.event is Event.ACCEPT:
        assert set(standings) == {Standing.ACCEPTED}
    if decision.event is Event.REFUSE:
        assert set(standings) == {Standing.REFUSED}
    if Standing.IN_DOUBT in standings and decision.event is not Event.DEFER:
        assert decision.event is Event.HOLD
    if Standing.ACCEPTED in standings:
        assert decision.event not in {Event.REFUSE, Event.GIVE_UP}

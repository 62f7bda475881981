"""Whether and when to try again: decisions as values, with the dice as an argument."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp import Disposition, OpeningRetry, Phase, Reply, Schedule, Scope, Verdict
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.outcome import classify_failure, classify_reply
from robust_email.smtp.retry import retry_now

DEFERRED = Verdict(Disposition.DEFERRED, Scope.SESSION, Phase.MAIL)
DICE = st.floats(0.0, 1.0, exclude_max=True)
REPLIES = st.builds(classify_reply, st.sampled_from(Phase), st.builds(Reply, st.integers(200, 599)))
FAILURES = st.builds(
    classify_failure, st.builds(Failure, st.sampled_from(FailureKind), st.sampled_from(Phase), st.just("text"))
)
VERDICTS = st.one_of(
    REPLIES,
    FAILURES,
    st.builds(Verdict, st.sampled_from(Disposition), st.sampled_from(Scope), st.sampled_from(Phase)),
)


def test_the_brief_s_schedule() -> None:
    """Retries come after 60, 120, 240, 300 and 300 s, the first without jitter, and there is no sixth."""
    schedule = Schedule()
    lowest = [schedule.decide(n, DEFERRED, lambda: 0.0) for n in range(6)]
    assert [decision and decision.delay for decision in lowest] == [60, 120, 240, 300, 300, None]
    highest = [schedule.decide(n, DEFERRED, lambda: 0.999) for n in range(5)]
    assert highest[0] == lowest[0]
    for low, high in zip(lowest[1:5], highest[1:5], strict=True):
        assert low is not None
        assert high is not None
        assert low.delay * 1.2 < high.delay <= low.delay * 1.25


@given(st.integers(0, 8), VERDICTS, DICE, st.one_of(st.none(), st.floats(0, 1e6)), st.floats(0.001, 10))
def test_the_long_run_repeats_only_what_is_deferred_and_never_early(
    retries: int, verdict: Verdict, dice: float, hint: float | None, scale: float
) -> None:
    """Never anything but DEFERRED, never more than five times, never before the schedule or the server's hint."""
    schedule = Schedule(scale=scale)
    decision = schedule.decide(retries, verdict, lambda: dice, hint)
    if verdict.disposition is not Disposition.DEFERRED or retries >= 5:
        assert decision is None
    else:
        assert decision is not None
        assert decision.delay >= max(schedule.delays[retries] * scale, hint or 0.0)
        assert decision.delay <= max(schedule.delays[retries] * scale * 1.25, hint or 0.0)


@given(VERDICTS, st.integers(1, 6), st.integers(1, 5), DICE)
def test_within_one_submission_only_the_session_is_tried_again(
    verdict: Verdict, attempt: int, attempts: int, dice: float
) -> None:
    """Only DEFERRED by the session or the endpoint, never at or after the end of data, and only so often."""
    policy = OpeningRetry(attempts=attempts, delay=2.0, max_delay=30.0)
    decision = retry_now(verdict, attempt, policy, lambda: dice)
    if decision is None:
        return
    assert verdict.disposition is Disposition.DEFERRED
    assert verdict.scope in {Scope.SESSION, Scope.ENDPOINT}
    assert verdict.phase not in {Phase.AWAIT_FINAL, Phase.POOL}
    assert attempt < attempts
    assert 2.0 <= decision.delay <= 30.0 * 1.25


@pytest.mark.parametrize(("phase", "kind"), list(itertools.product(Phase, FailureKind)))
def test_what_a_new_session_can_mend_is_tried_again(phase: Phase, kind: FailureKind) -> None:
    """A lost line or a dead DNS is; a certificate, a full pool, a mistake of ours and whatever is in doubt is not."""
    verdict = classify_failure(Failure(kind, phase, "text"))
    hopeless = {FailureKind.CERTIFICATE, FailureKind.NOT_OFFERED, FailureKind.TOO_LARGE}
    hopeless |= {FailureKind.CLEAR_TEXT, FailureKind.LOCAL}
    expected = phase not in {Phase.POOL, Phase.AWAIT_FINAL} and kind not in hopeless
    assert (retry_now(verdict, 1, OpeningRetry(), lambda: 0.0) is not None) == expected


@pytest.mark.parametrize(("phase", "scope"), list(itertools.product(Phase, Scope)))
def test_a_deferral_is_tried_again_by_scope_and_phase(phase: Phase, scope: Scope) -> None:
    """By SESSION and ENDPOINT, and not where the server has answered the end of data, whatever the answer was."""
    verdict = Verdict(Disposition.DEFERRED, scope, phase, reply=Reply(421))
    expected = scope in {Scope.SESSION, Scope.ENDPOINT} and phase not in {Phase.POOL, Phase.AWAIT_FINAL}
    assert (retry_now(verdict, 1, OpeningRetry(), lambda: 0.0) is not None) == expected


def test_the_delay_doubles_and_is_bounded() -> None:
    """2, 4, 8, 16, 30, 30 s between attempts; the jitter adds at most a quarter."""
    policy = OpeningRetry(attempts=7, delay=2.0, max_delay=30.0)
    decisions = [retry_now(DEFERRED, n, policy, lambda: 0.0) for n in range(1, 7)]
    assert [decision and decision.delay for decision in decisions] == [2, 4, 8, 16, 30, 30]
    late = retry_now(DEFERRED, 1, policy, lambda: 0.999)
    assert late is not None
    assert 2.4 < late.delay <= 2.5

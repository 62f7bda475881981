"""Deadlines run down, never come back, and are never outlived by a phase."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.net.deadline import Deadline
from robust_email.testing.clock import FakeClock

seconds = st.floats(min_value=0.0, max_value=1e6)


def test_remaining_runs_down_to_zero_and_stays_there() -> None:
    """A deadline never has less than nothing left."""
    clock = FakeClock()
    deadline = Deadline.after(30.0, clock)
    clock.advance(10.0)
    assert (deadline.remaining(), deadline.expired) == (20.0, False)
    clock.advance(100.0)
    assert (deadline.remaining(), deadline.expired) == (0.0, True)


def test_a_deadline_without_time_has_expired_at_once() -> None:
    """No time left and expired are the same moment."""
    assert Deadline.after(0.0, FakeClock()).expired


def test_never_does_not_come() -> None:
    """Its remaining time is infinite, whatever the clock says."""
    clock = FakeClock()
    never = Deadline.never(clock)
    clock.advance(1e12)
    assert math.isinf(never.remaining())
    assert not never.expired


@given(whole=seconds, phase=seconds, passed=seconds)
def test_a_phase_never_outlives_the_whole(whole: float, phase: float, passed: float) -> None:
    """``within`` gives the earlier of the two, counted from the moment of the call."""
    clock = FakeClock()
    deadline = Deadline.after(whole, clock)
    clock.advance(passed)
    inner = deadline.within(phase)
    assert inner.remaining() <= min(deadline.remaining(), phase) + 1e-6
    assert inner.at == min(deadline.at, clock() + phase)

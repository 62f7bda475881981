"""Rates as they are written, and the windows that count them: judged by a provider that looks back from each mail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.governor import Lane, Rate, Unit
from robust_email.smtp.governor.rates import PRIORITY_SHARE, RateBook, Request

RATES = st.builds(
    Rate,
    st.integers(1, 10**6),
    st.one_of(st.integers(1, 86_400).map(float), st.floats(0.1, 1e5, allow_nan=False)),
    st.sampled_from(Unit),
)

STEPS = st.one_of(st.floats(0, 0.4), st.sampled_from([0.0, 0.95, 0.97, 0.985, 0.995, 0.999]))
"""Parts of a window between two mails; what is granted just before the window ends is what a provider minds."""


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("14/s", Rate(14, 1)),
        ("30/m", Rate(30, 60)),
        (" 10000 / day ", Rate(10_000, 86_400)),
        ("100/15m", Rate(100, 900)),
        ("1/2.5s", Rate(1, 2.5)),
        ("50 recipients/hour", Rate(50, 3600, Unit.RECIPIENTS)),
        ("20 messages/minutes", Rate(20, 60)),
    ],
)
def test_a_rate_is_read_as_people_write_it(text: str, rate: Rate) -> None:
    """Count, unit and span come in the usual spellings."""
    assert Rate.parse(text) == rate


@pytest.mark.parametrize("text", ["", "14", "14/", "/s", "x/s", "-1/s", "0/s", "14/0s", "14/year", "14/s/m", "1e3/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """The error says how one is written, or that nothing would get through."""
    with pytest.raises(ValueError, match="rate"):
        Rate.parse(text)


def test_several_rates_hold_at_once() -> None:
    """A comma parts them."""
    assert Rate.parse_all("14/s, 50000/d") == (Rate(14, 1), Rate(50_000, 86_400))


@given(rate=RATES)
def test_a_rate_is_written_as_it_can_be_read(rate: Rate) -> None:
    """Its text gives the same rate back, so that it may serve as a name in the store."""
    again = Rate.parse(str(rate))
    assert (again.limit, again.unit) == (rate.limit, rate.unit)
    assert again.seconds == pytest.approx(rate.seconds)


def ask(book: RateBook, rate: Rate, now: float, caller: str = "a", lane: Lane = Lane.NORMAL, **more: float) -> float:
    """Ask for one message; returns the seconds to wait."""
    patience, recipients = more.get("patience", 1e9), int(more.get("recipients", 1))
    return book.take((rate,), more.get("factor", 1.0), Request(caller, lane, recipients, patience, now))


@given(
    rate=st.builds(Rate, st.one_of(st.integers(1, 3), st.integers(1, 40)), st.sampled_from([1.0, 6.0, 60.0, 3600.0])),
    start=st.floats(0, 2e9),
    steps=st.lists(st.tuples(STEPS, st.sampled_from(Lane), st.sampled_from("abc")), max_size=200),
)
def test_no_window_ever_holds_more_than_the_limit(
    rate: Rate, start: float, steps: list[tuple[float, Lane, str]]
) -> None:
    """However callers come, a provider that looks back one window from each mail counts no more than it allows."""
    book, now, granted = RateBook(), start, []
    for step, lane, caller in steps:
        now += step * rate.seconds
        if ask(book, rate, now, caller, lane) == 0:
            granted.append(now)
            assert sum(now - rate.seconds < then for then in granted) <= rate.limit


@given(rate=st.builds(Rate, st.integers(1, 60), st.sampled_from([1.0, 60.0])), start=st.floats(0, 2e9))
def test_whoever_waits_as_told_is_let_through(rate: Rate, start: float) -> None:
    """The wait that is named ends with a grant, and together they use at least 90 % of the allowance."""
    book, now, granted = RateBook(), start, 0
    while now < start + 20 * rate.seconds:
        wait = ask(book, rate, now)
        granted += wait == 0
        now += wait * (1 + 1e-9) + (1e-6 if wait else 0.0)
        if wait:
            assert ask(book, rate, now) == 0, "asked again when told to"
            granted += 1
    assert granted >= 0.9 * 20 * rate.limit


def test_the_priority_lane_goes_before_all_that_wait() -> None:
    """When a place comes free, a bulk mail that asks first gets none while a priority mail waits."""
    book, rate = RateBook(), Rate(2, 10)
    assert [ask(book, rate, 0, lane=Lane.BULK), ask(book, rate, 0, lane=Lane.BULK)] == [0, 0]
    turn = ask(book, rate, 1, "reset", Lane.PRIORITY)
    assert ask(book, rate, 1 + turn, "letter", Lane.BULK) == 0, "two places came free and one is kept"
    assert ask(book, rate, 1 + turn, "letter", Lane.BULK) > 0
    assert ask(book, rate, 1 + turn, "reset", Lane.PRIORITY) == 0


def test_a_share_is_kept_for_the_priority_lane_only_while_there_is_one() -> None:
    """Bulk alone uses all; after a priority mail it leaves a twentieth free, which is there at once."""
    rate = Rate(40, 60)
    alone = sum(ask(book, rate, 0, lane=Lane.BULK) == 0 for book in [RateBook()] for _ in range(50))
    assert alone == rate.limit
    book = RateBook()
    assert ask(book, rate, 0, "reset", Lane.PRIORITY) == 0
    bulk = sum(ask(book, rate, 1, lane=Lane.BULK) == 0 for _ in range(50))
    assert bulk == rate.limit - 1 - int(rate.limit * PRIORITY_SHARE)
    assert ask(book, rate, 2, "reset", Lane.PRIORITY) == 0


def test_who_has_no_patience_is_not_waited_for() -> None:
    """A caller who gives up at once leaves no place kept for him."""
    book, rate = RateBook(), Rate(1, 10)
    assert ask(book, rate, 0, lane=Lane.BULK) == 0
    assert ask(book, rate, 1, "hasty", Lane.PRIORITY, patience=2) > 2
    turn = ask(book, rate, 1, "letter", Lane.BULK)
    assert ask(book, rate, 1 + turn, "letter", Lane.BULK) == 0


def test_who_died_waiting_is_forgotten() -> None:
    """A priority caller who does not come when it is his turn holds the others up for a second at most."""
    book, rate = RateBook(), Rate(1, 10)
    assert ask(book, rate, 0, lane=Lane.BULK) == 0
    turn = ask(book, rate, 0, "dead", Lane.PRIORITY)
    assert ask(book, rate, turn + 0.5, "letter", Lane.BULK) > 0
    assert ask(book, rate, turn + 1.1, "letter", Lane.BULK) == 0


def test_recipients_count_where_the_provider_counts_them() -> None:
    """Ten recipients use up ten; a mail that alone exceeds the limit goes when nothing else does."""
    book, rate = RateBook(), Rate(10, 60, Unit.RECIPIENTS)
    assert ask(book, rate, 0, recipients=8) == 0
    assert ask(book, rate, 0, recipients=3) > 0
    assert ask(book, rate, 0, recipients=2) == 0
    assert ask(RateBook(), rate, 0, recipients=500) == 0


def test_adaptation_leaves_a_part_of_the_limit() -> None:
    """With half of it left, half goes."""
    book, rate = RateBook(), Rate(10, 60)
    assert sum(ask(book, rate, 0, factor=0.5) == 0 for _ in range(20)) == 5

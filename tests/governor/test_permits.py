"""Who holds a connection: never more than the limit, whatever dies, and the right one goes next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.governor import Lane
from robust_email.smtp.governor.permits import CLOSING, Hold, PermitBook
from robust_email.smtp.governor.rates import Request

LEASE = 15.0


def take(book: PermitBook, permit: str, now: float, lane: Lane = Lane.NORMAL, *, limit: int = 1) -> float:
    """Ask for a connection; the caller is named as the permit."""
    return book.take(permit, limit, LEASE, Request(permit, lane, 0, 60.0, now))


@given(
    limit=st.integers(1, 4),
    steps=st.lists(st.tuples(st.floats(0, 4), st.sampled_from("tttrn"), st.integers(0, 7)), max_size=120),
)
def test_connections_that_live_never_exceed_the_limit(limit: int, steps: list[tuple[float, str, int]]) -> None:
    """Whatever is taken, renewed, released or left to die: those whose lease runs are never more than allowed."""
    book, now, running = PermitBook(), 1e9, dict[str, float]()
    for number, (step, what, which) in enumerate(steps):
        now += step
        running = {name: until for name, until in running.items() if until > now}
        chosen = sorted(running)[which % len(running)] if running else ""
        if what == "t" and take(book, f"p{number:03}", now, limit=limit) == 0:
            running[f"p{number:03}"] = now + LEASE
        elif what == "r" and chosen:
            book.release(chosen, now, used=True)
            del running[chosen]
        elif what == "n" and chosen:
            book.renew({chosen: Hold(0, 0, 1)}, LEASE, now)
            running[chosen] = now + LEASE
        assert len(running) <= limit


def test_a_dead_holder_gives_way_when_its_lease_ends() -> None:
    """Not before, and then at once."""
    book = PermitBook()
    assert take(book, "dead", 0) == 0
    assert take(book, "next", LEASE - 0.1) > 0
    assert take(book, "next", LEASE + 0.1) == 0


def test_a_connection_that_was_ended_counts_until_the_server_has_read_it() -> None:
    """A moment after the release, unless no connection was made."""
    book = PermitBook()
    assert take(book, "a", 0) == 0
    book.release("a", 1, used=True)
    assert take(book, "b", 1) > 0
    assert take(book, "b", 1.01 + CLOSING) == 0
    book.release("b", 2, used=False)
    assert take(book, "c", 2) == 0


def test_a_higher_lane_goes_first() -> None:
    """A place that comes free is kept from bulk while a priority caller waits, and the holder sees who waits."""
    book = PermitBook()
    assert take(book, "holder", 0, Lane.BULK) == 0
    assert take(book, "reset", 1, Lane.PRIORITY) > 0
    assert take(book, "letter", 1, Lane.BULK) > 0
    assert book.demand().highest_lane == Lane.PRIORITY
    book.release("holder", 1, used=False)
    assert take(book, "letter", 1.1, Lane.BULK) > 0
    assert take(book, "reset", 1.1, Lane.PRIORITY) == 0


def test_what_the_store_has_lost_is_counted_again() -> None:
    """A store that was emptied learns from the next renewal who still has a connection."""
    book = PermitBook()
    book.renew({"alive": Hold(0, 0, 1)}, LEASE, 5)
    assert take(book, "other", 6) > 0

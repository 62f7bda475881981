"""The table of states, and that the database holds what it says."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from robust_email.outbox.identifiers import uuid7
from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.states import FINAL, LEASED, TRANSITIONS, WAITING, Event, State, after, sources


def test_every_state_is_in_the_table() -> None:
    """No state is without its line, and every event is good for something."""
    assert set(TRANSITIONS) == set(State)
    assert {event for moves in TRANSITIONS.values() for event in moves} == set(Event)


def test_an_accepted_mail_stays_accepted() -> None:
    """Nothing leads away from ACCEPTED, and nothing but a worker or a person's word leads there."""
    assert TRANSITIONS[State.ACCEPTED] == {}
    leading = {state for state, moves in TRANSITIONS.items() if State.ACCEPTED in moves.values()}
    assert leading == {State.CLAIMED, State.DATA_STARTED, State.IN_DOUBT}


def test_only_a_claim_takes_a_mail() -> None:
    """A mail gets to a worker from QUEUED by a claim, and in no other way."""
    assert sources(Event.CLAIM) == (State.QUEUED,)
    assert [s for s, moves in TRANSITIONS.items() if State.CLAIMED in moves.values()] == [State.QUEUED]


def test_every_waiting_state_comes_to_an_end() -> None:
    """From each waiting state some final one can be reached."""
    for state in WAITING:
        reached, frontier = {state}, [state]
        while frontier:
            frontier = [s for s in {*TRANSITIONS[frontier.pop()].values()} if s not in reached] + frontier
            reached.update(frontier)
        assert reached & FINAL


def test_an_illegal_move_is_an_error() -> None:
    """What the table does not list does not happen."""
    with pytest.raises(KeyError):
        after(State.ACCEPTED, Event.CLAIM)


@pytest.mark.parametrize("state", State)
def test_the_database_refuses_a_state_without_its_columns(outbox_url: str, state: State) -> None:
    """A row has a time, a lease, an end exactly in the states that have them; each other combination is refused."""
    now = timezone.now()
    right = {
        "next_attempt_at": now if state == State.QUEUED else None,
        "lease_token": uuid7() if state in LEASED else None,
        "lease_until": now if state in LEASED else None,
        "finished_at": now if state in FINAL else None,
    }
    row = {"created_at": now, "content": b"", "content_size": 0, "relay": "default", "state": state}
    OutboxMessage.objects.create(**row, **right)
    for column, value in right.items():
        wrong = {**right, column: None if value is not None else (uuid7() if column == "lease_token" else now)}
        with pytest.raises(IntegrityError), transaction.atomic(using=OutboxMessage.objects.db):
            OutboxMessage.objects.create(**row, **wrong)


def test_the_database_refuses_an_unknown_state(outbox_url: str) -> None:
    """A state is one of the table's."""
    with pytest.raises(IntegrityError), transaction.atomic(using=OutboxMessage.objects.db):
        OutboxMessage.objects.create(
            created_at=timezone.now(),
            content_size=0,
            relay="default",
            state="sleeping",
            finished_at=timezone.now(),
        )

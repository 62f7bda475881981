"""The life of a row, as data: which states there are, what may follow what, and on which event.

The docs' diagram is made from ``TRANSITIONS``; the services change a state only along one of its lines, and the
conditions of their UPDATEs come from ``sources``. See delivery semantics, section 3.
"""

from __future__ import annotations

from typing import Final

from django.db.models import TextChoices


class State(TextChoices):
    """What is known of a mail."""

    QUEUED = "queued"
    """Waits for ``next_attempt_at``; the relay has it for none of the recipients that are still pending."""
    CLAIMED = "claimed"
    """A worker holds the lease; nothing that could be accepted has left yet."""
    DATA_STARTED = "data-started"
    """Committed before the end-of-data mark may leave: from here the relay may have it."""
    ACCEPTED = "accepted"
    """The relay took responsibility for every recipient."""
    PARTLY = "partly"
    """For some it did; the others were refused or given up."""
    REFUSED = "refused"
    """For none, for good: the relay refused them, or they are suppressed and were not offered."""
    DEAD = "dead"
    """Given up: the schedule is used up, the row malformed, or it killed its workers. A person may queue it again."""
    IN_DOUBT = "in-doubt"
    """The relay may have it, and it is held until a person decides: by its policy, or because its time is over."""
    EXPIRED = "expired"
    """Worthless before anybody's was accepted; not submitted any more."""
    CANCELLED = "cancelled"
    """Withdrawn by a person or the application, before anybody's was accepted."""
    SUPERSEDED = "superseded"
    """A later mail took its place, before anybody's was accepted."""


class Event(TextChoices):
    """What moves a row."""

    CLAIM = "claim"
    START_DATA = "start-data"
    ACCEPT = "accept"
    ACCEPT_PARTLY = "accept-partly"
    REFUSE = "refuse"
    DEFER = "defer"
    GIVE_UP = "give-up"
    HOLD = "hold"
    RELEASE = "release"
    EXPIRE = "expire"
    CANCEL = "cancel"
    SUPERSEDE = "supersede"
    REQUEUE = "requeue"


_OUTCOMES: Final = {
    Event.ACCEPT: State.ACCEPTED,
    Event.ACCEPT_PARTLY: State.PARTLY,
    Event.REFUSE: State.REFUSED,
    Event.DEFER: State.QUEUED,
    Event.GIVE_UP: State.DEAD,
    Event.HOLD: State.IN_DOUBT,
    Event.EXPIRE: State.EXPIRED,
}

TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.QUEUED: {
        Event.CLAIM: State.CLAIMED,
        # Not to be submitted any more; but some have it already, or may have it.
        Event.ACCEPT_PARTLY: State.PARTLY,
        Event.HOLD: State.IN_DOUBT,
        Event.EXPIRE: State.EXPIRED,
        Event.CANCEL: State.CANCELLED,
        Event.SUPERSEDE: State.SUPERSEDED,
    },
    State.CLAIMED: {Event.START_DATA: State.DATA_STARTED, Event.RELEASE: State.QUEUED, **_OUTCOMES},
    # Marked once, a mail whose session died before the end of data may be marked again in the next session.
    State.DATA_STARTED: {Event.START_DATA: State.DATA_STARTED, Event.RELEASE: State.QUEUED, **_OUTCOMES},
    State.IN_DOUBT: {
        Event.ACCEPT: State.ACCEPTED,
        Event.ACCEPT_PARTLY: State.PARTLY,
        Event.REQUEUE: State.QUEUED,
        Event.CANCEL: State.CANCELLED,
    },
    State.ACCEPTED: {},
    State.PARTLY: {Event.REQUEUE: State.QUEUED},
    State.REFUSED: {Event.REQUEUE: State.QUEUED},
    State.DEAD: {Event.REQUEUE: State.QUEUED, Event.CANCEL: State.CANCELLED},
    State.EXPIRED: {Event.REQUEUE: State.QUEUED},
    State.CANCELLED: {Event.REQUEUE: State.QUEUED},
    State.SUPERSEDED: {},
}

LEASED: Final = frozenset({State.CLAIMED, State.DATA_STARTED})
"""A worker has it."""
WAITING: Final = frozenset({State.QUEUED, *LEASED})
"""The machinery will go on with it by itself."""
FINAL: Final = frozenset(State) - WAITING
"""Nothing moves it but a person."""


def sources(event: Event) -> tuple[State, ...]:
    """Return the states in which an event is legal, in the order of the table."""
    return tuple(state for state, moves in TRANSITIONS.items() if event in moves)


def after(state: State, event: Event) -> State:
    """Return the state that an event leads to; ``KeyError`` if it is not legal."""
    return TRANSITIONS[state][event]

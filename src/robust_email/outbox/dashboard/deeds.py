"""What an operator can do to a mail: each a change of its row, never a word to a relay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robust_email.outbox.services import operating
from robust_email.outbox.states import Event, State, sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from robust_email.outbox.models import OutboxMessage


@dataclass(frozen=True, slots=True)
class Deed:
    """``label`` is on the button, ``record`` in the audit log. ``do`` raises ``NotPossible``."""

    label: str
    record: str
    states: tuple[State, ...]
    """In which it is offered."""
    do: Callable[[UUID, str], OutboxMessage]
    warning: str = ""
    """What the operator should know before."""


DEEDS: Final[dict[str, Deed]] = {
    "resend": Deed(
        "Send again",
        "Queued again",
        tuple(state for state in sources(Event.REQUEUE) if state != State.IN_DOUBT),
        lambda pk, by: operating.requeue(pk, reason=f"queued again by {by}"),
    ),
    "cancel": Deed(
        "Cancel",
        "Cancelled",
        tuple(state for state in sources(Event.CANCEL) if state != State.IN_DOUBT),
        lambda pk, by: operating.cancel(pk, reason=f"cancelled by {by}"),
    ),
    "resolve-accepted": Deed(
        "The relay has it",
        "Resolved: the relay has it",
        (State.IN_DOUBT,),
        lambda pk, by: operating.resolve(pk, accepted=True, reason=f"{by} found it in the relay's log"),
    ),
    "resolve-resend": Deed(
        "Send again, it has not",
        "Resolved: queued again",
        (State.IN_DOUBT,),
        lambda pk, by: operating.resolve(pk, accepted=False, reason=f"{by} decided to send it again"),
        warning="If the relay has it after all, it will have two, with the same Message-ID.",
    ),
}


def offered(state: str) -> dict[str, Deed]:
    """Return those that a state allows."""
    return {name: deed for name, deed in DEEDS.items() if state in deed.states}

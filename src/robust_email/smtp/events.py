"""What the engine tells whoever listens: logs, metrics, traces. Plain data, no addresses, no secrets.

A listener is any callable taking an event. It is called in the submitting thread and must be quick;
what it raises is swallowed by ``notify`` after being logged, since an observer must not cost a mail.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robust_email.smtp.outcome import Verdict
    from robust_email.smtp.phases import Phase
    from robust_email.smtp.report import SubmissionReport


@dataclass(frozen=True, slots=True)
class Event:
    """Base: ``endpoint`` is ``host:port`` of the relay."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class SessionOpened(Event):
    """A session is ready for mail. ``attempt`` counts from 1; ``seconds`` from DNS to ready."""

    session: int
    attempt: int
    seconds: float
    tls: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """No session could be had, or it was lost before the end of data.

    ``retry_in`` (seconds) is ``None`` when this was the last attempt.
    """

    attempt: int
    attempts: int
    verdict: Verdict
    retry_in: float | None


@dataclass(frozen=True, slots=True)
class SessionClosed(Event):
    """A session ended. ``reason`` is a short fixed word or what happened."""

    session: int
    reason: str
    transactions: int


@dataclass(frozen=True, slots=True)
class PhaseTimed(Event):
    """A phase came to its end after ``seconds``; told only where ``SubmissionClient`` was asked for it.

    The phases of a session follow each other without a gap: a command that was pipelined counts from the reply before
    its own. ``pool`` is the wait for a session where all were in use.
    """

    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True)
class StaleAnswerUsed(Event):
    """DNS failed and the last good addresses, ``age`` seconds old, were used instead."""

    age: float


@dataclass(frozen=True, slots=True)
class CircuitOpened(Event):
    """The relay failed so often in a row, for all who use it, that it is tried by one at a time from now on."""

    reason: str


@dataclass(frozen=True, slots=True)
class CircuitClosed(Event):
    """The relay is back after ``outage`` seconds: whatever waits for it may go."""

    outage: float


@dataclass(frozen=True, slots=True)
class GovernorDegraded(Event):
    """The store that shares the limits is gone; this process keeps to its part of them."""

    reason: str


@dataclass(frozen=True, slots=True)
class GovernorRestored(Event):
    """The store is back, and the limits are shared again."""


@dataclass(frozen=True, slots=True)
class HeldBack(Event):
    """Mail waits ``seconds`` because of a limit, a pause or another's connections, holding no session meanwhile."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class AfterAcceptanceTrouble(Event):
    """Something failed after the final 250: worth a line in the log, never a retry."""

    session: int
    text: str


@dataclass(frozen=True, slots=True)
class Submitted(Event):
    """A submission ended, whatever its verdicts."""

    report: SubmissionReport


Listener = Callable[[Event], None]


def silent(_event: Event) -> None:
    """The listener for those who want none."""


def notify(listener: Listener, event: Event) -> None:
    """Call the listener; its failure is logged and ends here."""
    try:
        listener(event)
    except Exception:  # an observer must not cost a mail
        logging.getLogger("robust_email").exception("A listener failed on %s", type(event).__name__)

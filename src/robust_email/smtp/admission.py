"""What a client asks its governor, and the verdict for mail that may not go: between the engine and ``governor``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.governor import Governor, Observation, Permit, Wait
from robust_email.smtp.opening import SessionUnavailable
from robust_email.smtp.outcome import Verdict, classify_failure
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from robust_email.smtp.lane import Lane


class NotAdmitted(SessionUnavailable):
    """Held back: nothing was tried. ``wait`` says for how long, ``worth_waiting`` whether to stay and ask again."""

    def __init__(self, wait: Wait, *, worth_waiting: bool) -> None:
        """Make the verdict: DEFERRED for the whole endpoint, and no attempt used up."""
        text = f"held back: {wait.reason}; worth another try in {wait.seconds:.1f} s"
        super().__init__(classify_failure(Failure(FailureKind.THROTTLED, Phase.POOL, text, retry_after=wait.seconds)))
        self.wait = wait
        self.worth_waiting = worth_waiting


class Admission:
    """A governor in the engine's words; nothing here waits."""

    def __init__(self, governor: Governor) -> None:
        """Ask nothing yet."""
        self._governor = governor

    def may_begin(self, lane: Lane, recipients: int, patience: float, *, only_look: bool = False) -> NotAdmitted | None:
        """Ask for a message's turn; ``None`` is yes."""
        wait = self._governor.message(lane, recipients, patience, only_look=only_look)
        return None if wait is None else NotAdmitted(wait, worth_waiting=True)

    @contextmanager
    def opening(self, lane: Lane, patience: float) -> Iterator[Permit]:
        """Have a permit while a session is opened, and keep it if that succeeds; learn how it went.

        Raises ``NotAdmitted``, or whatever the opening raises.
        """
        permit = self._governor.connection(lane, patience)
        if isinstance(permit, Wait):
            raise NotAdmitted(permit, worth_waiting=True)
        standing = self._governor.circuit()
        if isinstance(standing, Wait):
            permit.release(used=False)
            raise NotAdmitted(standing, worth_waiting=False)
        try:
            yield permit
        except SessionUnavailable as exc:
            self._governor.observe(Observation(exc.verdict))
            permit.release()
            raise
        except BaseException:
            permit.release()
            raise
        self._governor.observe(Observation())

    def observe(self, verdicts: Iterable[Verdict]) -> None:
        """Learn from a transaction: each different verdict once."""
        for verdict in dict.fromkeys(verdicts):
            self._governor.observe(Observation(verdict))

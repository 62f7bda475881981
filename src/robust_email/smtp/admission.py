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
    from collections.abc import Callable, Iterable, Iterator

    from robust_email.smtp.batch import Job
    from robust_email.smtp.lane import Lane
    from robust_email.smtp.net.deadline import Deadline


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
        except BaseException as exc:
            if isinstance(exc, SessionUnavailable):
                self._governor.observe(Observation(exc.verdict, standing))
            if standing is not None:  # not every end says something of the endpoint: a wrong certificate, an interrupt
                self._governor.give_back(standing)
            permit.release()
            raise
        self._governor.observe(Observation(probe=standing))

    def observe(self, verdicts: Iterable[Verdict]) -> None:
        """Learn from a transaction: each different verdict once."""
        for verdict in dict.fromkeys(verdicts):
            self._governor.observe(Observation(verdict))


class Turn:
    """One batch's turns: it asks for each mail, and remembers how long the one in front has been held back."""

    def __init__(self, admission: Admission, patience: float, deadline: Deadline, clock: Callable[[], float]) -> None:
        """``patience``: seconds that the mail in front may be held back, ``deadline`` permitting."""
        self._admission = admission
        self._patience = patience
        self._deadline = deadline
        self._clock = clock
        self._held: NotAdmitted | None = None
        self._held_since: float | None = None

    def look_ahead(self, job: Job) -> None:
        """Before a session is opened for it: raise ``NotAdmitted`` if the mail's turn has not come."""
        if not job.admitted:
            self._held = self._ask(job, only_look=True)
            self.raise_held()

    def taking(
        self, take: Callable[[], Job | None], put_back: Callable[[Job], None], permit: Permit | None
    ) -> Callable[[], Job | None]:
        """Take mail for one session as long as the governor lets; the wait is outside, when the session is given back.

        ``raise_held`` says afterwards whether it came to that.
        """
        begun = 0

        def take_admitted() -> Job | None:
            nonlocal begun
            job = take()
            if job is None:
                return None
            if not job.admitted:
                overdue = begun > 0 and permit is not None and permit.overdue(job.submission.lane)
                self._held = None if overdue else self._ask(job, only_look=False)
                if overdue or self._held is not None:
                    put_back(job)
                    return None
                job.admitted = True
            begun += 1
            self._held_since = None
            return job

        return take_admitted

    def raise_held(self) -> None:
        """Raise what last held mail back, once."""
        held, self._held = self._held, None
        if held is not None:
            raise held

    def is_worth_waiting_for(self, held: NotAdmitted) -> bool:
        """Whether the wait can end while there is patience left."""
        return held.worth_waiting and held.wait.seconds < self._patience_left()

    def starts_waiting(self) -> bool:
        """Note that the mail in front waits; whether that is news."""
        if self._held_since is not None:
            return False
        self._held_since = self._clock()
        return True

    def _ask(self, job: Job, *, only_look: bool) -> NotAdmitted | None:
        patience = max(0.0, self._patience_left())
        return self._admission.may_begin(job.submission.lane, len(job.remaining), patience, only_look=only_look)

    def _patience_left(self) -> float:
        waited = 0.0 if self._held_since is None else self._clock() - self._held_since
        return min(self._patience - waited, self._deadline.remaining())

"""Hand a mail over to one relay: start reading here.

``SubmissionClient.submit`` leases a session, runs the transaction, tries again where that is safe, and returns a
report with exactly one verdict per recipient. It raises for nothing that the network or a server can do;
``error_for(report)`` makes the exception for callers who want one.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from robust_email.smtp.admission import Admission
from robust_email.smtp.batch import FULL, Batch, BeforeFinal, Effort, Finished, Source, Submission
from robust_email.smtp.events import (
    AttemptFailed,
    PhaseTimed,
    SessionClosed,
    SessionOpened,
    StaleAnswerUsed,
    Submitted,
    notify,
    silent,
)
from robust_email.smtp.lane import Lane
from robust_email.smtp.net.connector import Connector
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.opening import SessionUnavailable
from robust_email.smtp.phases import Phase
from robust_email.smtp.pool import SessionPool
from robust_email.smtp.raising import opening_error
from robust_email.smtp.session import Session, open_session
from robust_email.smtp.spread import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from robust_email.smtp.config import SmtpConfig
    from robust_email.smtp.envelope import Envelope
    from robust_email.smtp.events import Event, Listener
    from robust_email.smtp.governor import Governor
    from robust_email.smtp.maildata import MailData
    from robust_email.smtp.report import SubmissionReport
    from robust_email.smtp.transcript import Transcript


class SubmissionClient:
    """One relay and account, with its pool of sessions. Share it between threads; keep it for the process's life."""

    def __init__(
        self,
        config: SmtpConfig,
        *,
        listener: Listener = silent,
        transcript: Callable[[], Transcript | None] = lambda: None,
        timed: Callable[[], bool] = lambda: False,
        connector: Connector | None = None,
        governor: Governor | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """Open nothing yet.

        Args:
            config: the relay and how to treat it.
            listener: is told of sessions and submissions (``events``).
            transcript: asked at each opening of a session; a callable to be given the masked dialogue, or ``None``.
            timed: asked whether ``PhaseTimed`` is wanted, of a session when it is opened.
            connector: another way to connect (a guard, a proxy, a test).
            governor: holds mail and sessions back where the relay's limits, or its health, ask for it.
            clock: monotonic seconds.
            sleep: waits between attempts to open a session (seconds).
            dice: for jitter; as ``random.random``.
        """
        self.config = config
        self.clock = clock
        self.sleep = sleep
        self.dice = dice
        self.serves_stepwise = False
        """Whether the relay proved to mishandle PIPELINING; then every command waits for its reply."""
        self._listener = listener
        self._transcript = transcript
        self._wants_phases = timed
        self._connector = connector or Connector(
            config, clock=clock, on_stale=self._used_stale_answer, on_timed=self._phase_ended
        )
        self.governor = governor
        self.admission = Admission(governor) if governor else None
        # More sessions than the relay takes connections would let this process's threads compete for permits in vain.
        most = governor.most_connections if governor else None
        limits = replace(config.pool, size=min(config.pool.size, most)) if most else config.pool
        self.pool = SessionPool(self._open, limits, clock, self._closed, on_waited=self._waited)
        if governor is not None:
            governor.when_wanted(self._give_up_idle)

    def submit(
        self,
        envelope: Envelope,
        data: MailData,
        deadline: Deadline | None = None,
        *,
        lane: Lane = Lane.NORMAL,
        kind: str = "",
        effort: Effort = FULL,
        before_final: BeforeFinal | None = None,
    ) -> SubmissionReport:
        """Hand over one mail and return a verdict for each recipient.

        ``deadline`` bounds the whole, retries included; each phase has its own limit besides (``Timeouts``).
        ``lane`` says who goes first where a governor holds back, ``kind`` is ``Submission.kind``, ``effort`` says how
        hard to try. ``before_final`` is called once the end-of-data mark is about to leave; what it raises stops the
        mail and is raised here. Nothing else is raised.
        """
        submission = Submission(envelope, data, kind=kind, lane=lane)
        [(_, report)] = self._batch(iter([submission]), deadline, 1, before_final, effort)
        return report

    def submit_many(
        self,
        submissions: Iterable[Submission],
        *,
        deadline: Deadline | None = None,
        window: int | None = None,
        sessions: int = 1,
        effort: Effort = FULL,
        before_final: BeforeFinal | None = None,
    ) -> Generator[Finished, None, None]:
        """Hand over many; yield each with its report as it ends. Takes from the iterable only as far as needed.

        Up to ``window`` messages (default: the configuration's) are under way on each of ``sessions`` sessions; a
        session that dies leaves at most ``window`` in doubt, and the rest goes on elsewhere. What ``before_final`` or
        the iterable raises is raised when everything under way was answered. A caller who stops early learns no more
        of what was under way.
        """
        window = window or self.config.wire.window
        sessions = min(sessions, self.pool.size)

        def work(source: Source) -> Iterator[Finished]:
            return self._batch(source, deadline, window, before_final, effort)

        yield from work(iter(submissions)) if sessions <= 1 else spread(submissions, sessions, work)

    def verify(self, deadline: Deadline | None = None) -> None:
        """Have a session ready, TLS and AUTH included, and give it back: one attempt, no retry.

        Raises the kind of ``RobustEmailError`` that submitting would have met.
        """
        with self.lease(deadline):
            pass

    @contextmanager
    def lease(self, deadline: Deadline | None = None) -> Iterator[Session]:
        """Lend a session for commands of the caller's own. Raises as ``verify``."""
        try:
            with self.pool.lease(deadline or Deadline.never(self.clock)) as lease:
                yield lease.session
        except SessionUnavailable as exc:
            self.tell(AttemptFailed(self.config.endpoint, 1, 1, exc.verdict, None))
            raise opening_error(exc.verdict, self.config.endpoint, exc.__cause__) from exc.__cause__

    def close(self) -> None:
        """End the idle sessions, without waiting for the server. The client stays usable."""
        self.pool.close_idle()

    # -- for batches

    def tell(self, event: Event) -> None:
        """Pass an event to the listener."""
        notify(self._listener, event)

    def remember_stepwise(self) -> None:
        """From now on this relay is served step by step."""
        self.serves_stepwise = True

    def submitted(self, report: SubmissionReport) -> None:
        """A submission ended."""
        self.tell(Submitted(self.config.endpoint, report))

    def _batch(
        self,
        source: Source,
        deadline: Deadline | None,
        window: int,
        before_final: BeforeFinal | None,
        effort: Effort,
    ) -> Iterator[Finished]:
        return Batch(self, source, deadline or Deadline.never(self.clock), window, before_final, effort=effort).run()

    def _open(self, deadline: Deadline, attempt: int, lane: Lane) -> Session:
        patience = min(self.config.pool.wait, deadline.remaining())
        with self.admission.opening(lane, patience) if self.admission else nullcontext() as permit:
            session = self._open_now(deadline, attempt)
            session.permit = permit
            return session

    def _open_now(self, deadline: Deadline, attempt: int) -> Session:
        began = self.clock()
        session = open_session(
            self._connector,
            self.config,
            deadline.within(self.config.timeouts.opening),
            clock=self.clock,
            transcript=self._transcript(),
            timed=self._tell_phase if self._wants_phases() else None,
        )
        stream = session.dialogue.stream
        self.tell(
            SessionOpened(
                self.config.endpoint,
                session.number,
                attempt,
                self.clock() - began,
                stream.tls_version,
                stream.peer,
            )
        )
        return session

    def _waited(self, seconds: float) -> None:
        self._phase_ended(Phase.POOL, seconds)

    def _phase_ended(self, phase: Phase, seconds: float) -> None:
        if self._wants_phases():
            self._tell_phase(phase, seconds)

    def _tell_phase(self, phase: Phase, seconds: float) -> None:
        self.tell(PhaseTimed(self.config.endpoint, phase, seconds))

    def _used_stale_answer(self, age: float) -> None:
        self.tell(StaleAnswerUsed(self.config.endpoint, age))

    def _give_up_idle(self) -> None:
        self.pool.close_idle("wanted elsewhere")

    def _closed(self, session: Session, reason: str) -> None:
        if session.permit is not None:
            session.permit.release()
        self.tell(SessionClosed(self.config.endpoint, session.number, reason, session.usage.transactions))

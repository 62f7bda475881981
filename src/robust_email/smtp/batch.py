"""Submissions worked off: sessions leased, transactions run, retries made, until every recipient has a verdict.

One path serves the single mail and the bulk: a single mail is a batch of one. Inside this module a mail is a
``Job``, which remembers what is still to be done for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from robust_email.smtp.admission import NotAdmitted, Turn
from robust_email.smtp.conveyor import Conveyor, TransactionResult
from robust_email.smtp.events import AttemptFailed, HeldBack
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.lane import Lane
from robust_email.smtp.opening import SessionUnavailable
from robust_email.smtp.outcome import TOO_MANY_RECIPIENTS, Disposition, Scope, Verdict, classify_failure
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import ReplyClass
from robust_email.smtp.report import AttemptRecord, SubmissionReport
from robust_email.smtp.retry import retry_now
from robust_email.smtp.spread import Shared

if TYPE_CHECKING:
    from robust_email.smtp.address import ForwardPath
    from robust_email.smtp.envelope import Envelope
    from robust_email.smtp.maildata import MailData
    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.pool import Lease
    from robust_email.smtp.submission import SubmissionClient


@dataclass(frozen=True, slots=True)
class Submission:
    """A mail to be handed over. ``key`` is the caller's own, untouched."""

    envelope: Envelope
    data: MailData
    key: object = None
    kind: str = ""
    """A word of the caller's for this class of mail, for routers, metrics and traces."""
    lane: Lane = Lane.NORMAL
    """Who goes first where there is not enough for all."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try for a session, where the configuration's word shall not be the last. ``None`` is its word."""

    attempts: int | None = None
    patience: float | None = None
    """Seconds to wait while held back by a governor."""


FULL = Effort()
ONCE = Effort(attempts=1, patience=0.0)
"""For when there is somewhere else to go."""


@dataclass(slots=True, eq=False)
class Job:
    """A submission under way: whom it still has to reach, and the verdicts so far."""

    submission: Submission
    began: float
    remaining: tuple[ForwardPath, ...] = ()
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    attempts: list[AttemptRecord] = field(default_factory=list)
    failed_attempts: int = 0
    free_retry_used: bool = False
    session: int | None = None
    cause: BaseException | None = None
    admitted: bool = False
    """The governor has counted the transaction that is about to begin."""

    def __post_init__(self) -> None:
        """Everybody is still to be reached."""
        self.remaining = self.submission.envelope.forward_paths

    @property
    def envelope(self) -> Envelope:
        """The mail's envelope."""
        return self.submission.envelope

    @property
    def data(self) -> MailData:
        """The mail's octets."""
        return self.submission.data


BeforeFinal = Callable[[Sequence[Submission]], None]
"""Called with the mails whose end-of-data mark is about to leave; what it raises stops them."""

Finished = tuple[Submission, SubmissionReport]
Source = Iterator[Submission] | Shared


class Batch:
    """Works off an iterator of submissions over one session at a time."""

    def __init__(
        self,
        client: SubmissionClient,
        source: Source,
        deadline: Deadline,
        window: int,
        before_final: BeforeFinal | None,
        *,
        effort: Effort = FULL,
    ) -> None:
        """Nothing is taken from ``source`` before ``run`` has a session for it, but the first."""
        self._client = client
        self._source = source
        self._deadline = deadline
        self._window = window
        self._before_final = before_final
        retry, pool = client.config.retry, client.config.pool
        self._retry = retry if effort.attempts is None else replace(retry, attempts=effort.attempts)
        patience = pool.wait if effort.patience is None else effort.patience
        self._turn = None if client.admission is None else Turn(client.admission, patience, deadline, client.clock)
        self._waiting: deque[Job] = deque()
        self._elsewhere: list[Job] = []
        """Jobs that go on with another session, in their order."""
        self._fresh = False
        self._pause = 0.0
        self._source_error: BaseException | None = None

    def run(self) -> Iterator[Finished]:
        """Yield each submission with its report, as they end.

        Raises only what ``before_final`` or the source raised, once everything under way was answered.
        """
        while (first := self._take()) is not None:
            self._waiting.appendleft(first)
            self._wait()
            if self._deadline.expired:
                yield from self._all_with(_TOO_LATE, None)
                break
            try:
                if self._turn is not None and (self._fresh or not self._client.pool.stats().idle):
                    self._turn.look_ahead(first)
                attempt, lane = first.failed_attempts + 1, first.submission.lane
                with self._client.pool.lease(self._deadline, fresh=self._fresh, attempt=attempt, lane=lane) as lease:
                    self._fresh = False
                    yield from self._over(lease)
                if self._turn is not None:
                    self._turn.raise_held()
            except NotAdmitted as exc:
                if not self._stay(exc):
                    yield from self._without_session(exc)
            except SessionUnavailable as exc:
                yield from self._without_session(exc)
        if self._source_error is not None:
            raise self._source_error

    def _take(self) -> Job | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._source_error is not None:
            return None
        try:
            item = next(self._source, None)
        except Exception as exc:  # noqa: BLE001 - raised by run, when what is under way has its verdicts
            self._source_error = exc
            return None
        return Job(item, self._client.clock()) if isinstance(item, Submission) else item

    def _wait(self) -> None:
        pause, self._pause = self._pause, 0.0
        if pause > 0:
            self._client.sleep(min(pause, self._deadline.remaining()))

    def _over(self, lease: Lease) -> Iterator[Finished]:
        conveyor = Conveyor(
            lease.session,
            self._window,
            self._hook(),
            self._deadline,
            stepwise=self._client.serves_stepwise,
        )
        put_back = self._waiting.appendleft
        take = self._turn.taking(self._take, put_back, lease.session.permit) if self._turn else self._take
        for result in conveyor.run(take, put_back):
            finished = self._settle(result, lease)
            if self._fresh:
                conveyor.stop()
            if finished is not None:
                yield finished
        self._waiting.extendleft(reversed(self._elsewhere))
        self._elsewhere.clear()

    def _hook(self) -> Callable[[Sequence[Job]], None] | None:
        before_final = self._before_final
        if before_final is None:
            return None
        return lambda jobs: before_final([job.submission for job in jobs])

    def _stay(self, held: NotAdmitted) -> bool:
        """Whether to wait and ask again, for which ``_pause`` is set then; without using up an attempt."""
        if self._turn is None or not self._turn.is_worth_waiting_for(held):
            return False
        if self._turn.starts_waiting():
            self._client.tell(HeldBack(self._client.config.endpoint, held.wait.seconds, held.wait.reason))
        self._pause = held.wait.seconds
        return True

    # -- no session

    def _without_session(self, exc: SessionUnavailable) -> Iterator[Finished]:
        """Decide on another attempt; else the same verdict holds for all that waits, since all go the same way.

        Unless others work on the same source, with sessions that they have: then it is left to them.
        """
        verdict, front = exc.verdict, self._waiting[0]
        front.attempts.append(AttemptRecord(len(front.attempts) + 1, verdict.phase, 0.0, verdict))
        if self._pause_and_retry(front, verdict):
            return
        if isinstance(self._source, Shared) and self._source.leave_to_others(self._waiting):
            self._waiting.clear()
            self._source = iter(())
            return
        yield from self._all_with(verdict, exc.__cause__ or exc)

    def _all_with(self, verdict: Verdict, cause: BaseException | None) -> Iterator[Finished]:
        """One verdict for everybody who is still to be reached; being late explains less than what came before it."""
        while (job := self._take()) is not None:
            job.cause = cause or job.cause
            paths = [str(path) for path in job.remaining]
            yield self._finish(
                job, {path: verdict for path in paths if verdict is not _TOO_LATE or path not in job.verdicts}
            )

    # -- after a transaction

    def _settle(self, result: TransactionResult, lease: Lease) -> Finished | None:
        """Note the verdicts; put the job back in front if it goes on at once, else give its report."""
        job = result.job
        job.session, job.cause = lease.session.number, result.cause
        job.admitted = False
        if self._client.admission is not None:
            self._client.admission.observe(result.verdicts)
        found = dict(zip(map(str, result.paths), result.verdicts, strict=True))
        decisive = result.verdicts[0]
        job.attempts.append(
            AttemptRecord(
                len(job.attempts) + 1,
                decisive.phase,
                result.seconds,
                None if decisive.disposition is Disposition.ACCEPTED else decisive,
                lease.session.number,
            )
        )
        again = self._again(result, job)
        job.verdicts.update(found)
        open_paths = {str(path) for path in job.remaining} - set(found)
        again_paths = open_paths | {path for path, verdict in found.items() if _not_taken(verdict) and again(verdict)}
        if not again_paths:
            return self._finish(job, {})
        job.remaining = tuple(path for path in job.remaining if str(path) in again_paths)
        if self._fresh or lease.session.broken:
            self._elsewhere.append(job)
        else:
            self._waiting.appendleft(job)
        return None

    def _again(self, result: TransactionResult, job: Job) -> Callable[[Verdict], bool]:
        """Which verdicts of this transaction are followed by another one at once, or after a pause."""
        if result.mishandled:
            self._client.remember_stepwise()
            self._fresh = True
            return lambda _verdict: True
        lost = next((verdict for verdict in result.verdicts if _of_session(verdict)), None)
        if lost is not None and self._try_again(result, job, lost):
            return _of_session
        if any(map(_login_lost, result.verdicts)) and self._free_retry(result, job):
            return _login_lost
        reply = result.mail_reply
        if reply is not None and reply.klass is ReplyClass.TRANSIENT and result.session_had_accepted:
            # "Too many messages in this session" (OpenSMTPD: 452 after 100): a new one begins. There this mail is
            # among the first, so this comes to an end.
            self._fresh = True
            return lambda _verdict: True
        return _enough_for_one_transaction(result)

    def _try_again(self, result: TransactionResult, job: Job, lost: Verdict) -> bool:
        if lost.phase is Phase.AWAIT_FINAL:
            return False
        if self._free_retry(result, job):
            return True
        retried = self._pause_and_retry(job, lost)
        self._fresh = self._fresh or retried
        return retried

    def _pause_and_retry(self, job: Job, verdict: Verdict) -> bool:
        """Count a failed attempt; whether there is to be another, for which ``_pause`` is set then."""
        client, policy = self._client, self._retry
        job.failed_attempts += 1
        decision = retry_now(verdict, job.failed_attempts, policy, client.dice)
        if decision is not None and decision.delay >= self._deadline.remaining():
            decision = None
        delay = decision.delay if decision else None
        if not self._pause:  # else the same loss was told of with another message of the window
            client.tell(AttemptFailed(client.config.endpoint, job.failed_attempts, policy.attempts, verdict, delay))
        self._pause = max(self._pause, delay or 0.0)
        return decision is not None

    def _free_retry(self, result: TransactionResult, job: Job) -> bool:
        """One immediate fresh session, not counted, where the old session's age or use explains the end."""
        if not result.session_was_used or job.free_retry_used:
            return False
        job.free_retry_used = True
        self._fresh = True
        return True

    def _finish(self, job: Job, rest: dict[str, Verdict]) -> Finished:
        verdicts = {**job.verdicts, **rest}
        order = [str(path) for path in job.envelope.forward_paths]
        report = SubmissionReport(
            message_id=job.data.message_id,
            endpoint=self._client.config.endpoint,
            verdicts={path: verdicts[path] for path in order},
            attempts=tuple(job.attempts),
            seconds=self._client.clock() - job.began,
            session=job.session,
            kind=job.submission.kind,
            cause=job.cause,
        )
        self._client.submitted(report)
        return job.submission, report


_TOO_LATE = classify_failure(Failure(FailureKind.TIMEOUT, Phase.POOL, "the deadline passed before it was begun"))


def _not_taken(verdict: Verdict) -> bool:
    """Whether another transaction cannot double anything: the guard before every repetition."""
    return verdict.disposition in {Disposition.DEFERRED, Disposition.REFUSED}


def _of_session(verdict: Verdict) -> bool:
    return verdict.disposition is Disposition.DEFERRED and verdict.scope is Scope.SESSION


def _login_lost(verdict: Verdict) -> bool:
    """530 or 535 to a mail: a session that had been used does not count as logged in any more (a password rotated)."""
    return verdict.scope is Scope.CONFIGURATION and verdict.reply is not None and verdict.reply.code in {530, 535}


def _enough_for_one_transaction(result: TransactionResult) -> Callable[[Verdict], bool]:
    """452 (552) after accepted ones: the rest follow in a further transaction (RFC 5321 4.5.3.1.10)."""
    progress = any(verdict.disposition is Disposition.ACCEPTED for verdict in result.verdicts)

    def again(verdict: Verdict) -> bool:
        reply = verdict.reply
        return (
            progress
            and verdict.phase is Phase.RCPT
            and verdict.disposition is Disposition.DEFERRED
            and reply is not None
            and reply.code in TOO_MANY_RECIPIENTS
        )

    return again

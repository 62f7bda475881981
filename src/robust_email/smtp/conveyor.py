"""Transactions on one session, as many under way as the window allows.

Where the server takes CHUNKING and PIPELINING, the next message leaves before the last one is answered; replies
are matched by order. Everywhere else one transaction follows the other. When the session ends, each message that
was under way gets the verdict of what it can have reached, and the rest of the queue is left untouched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.outcome import Scope
from robust_email.smtp.preparation import Prepared, Unfit, prepare
from robust_email.smtp.protocol.client import IllegalCommandError
from robust_email.smtp.protocol.states import SessionState
from robust_email.smtp.transaction import Manner, Transaction
from robust_email.smtp.wire import Transport

if TYPE_CHECKING:
    from robust_email.smtp.address import ForwardPath
    from robust_email.smtp.batch import Job
    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.outcome import Verdict
    from robust_email.smtp.protocol.replies import Reply
    from robust_email.smtp.session import Session

BeforeFinal = Callable[[Sequence["Job"]], None]
"""Called with the messages whose end-of-data mark is about to be handed over; it may raise to stop them."""


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What one transaction came to. ``verdicts`` are in the order of ``paths``."""

    job: Job
    paths: tuple[ForwardPath, ...]
    verdicts: tuple[Verdict, ...]
    seconds: float
    mishandled: bool = False
    """The server lost its way in a pipeline; the same mail may be tried step by step."""
    session_was_used: bool = False
    """The session had carried a transaction before, so that its age may explain its end."""
    session_had_accepted: bool = False
    """It had taken a mail before, so that its limits may explain a refusal."""
    mail_reply: Reply | None = None
    cause: BaseException | None = None


@dataclass(slots=True)
class _Riding:
    job: Job
    transaction: Transaction
    started: float
    session_was_used: bool
    octets: int
    is_first: bool
    """Nothing else was under way, so that it had to wait for no other mail."""


_SLOW_ANSWER: Final = 4
"""So many times what the hook takes, and an answer counts as slow."""


class Conveyor:
    """Carries jobs over one session until the queue or the session ends."""

    def __init__(
        self, session: Session, window: int, before_final: BeforeFinal | None, deadline: Deadline, *, stepwise: bool
    ) -> None:
        """``window``: messages under way at once. ``stepwise``: this relay is known to mishandle pipelining."""
        self._session = session
        self._dialogue = session.dialogue
        self._window = window
        self._before_final = before_final
        self._deadline = deadline
        self._transport = session.transport(stepwise=stepwise)
        self._riding: deque[_Riding] = deque()
        self._clock = deadline.clock
        self._stopped: Exception | None = None
        self._exhausted = False
        self._hook_seconds = 0.0
        self._answer_seconds = 0.0
        """Of the last call of ``before_final``, and of the last mail that found the server without work."""

    def stop(self) -> None:
        """Begin nothing more; what is under way is still answered, by ``run``."""
        self._exhausted = True

    def run(self, take: Callable[[], Job | None], put_back: Callable[[Job], None]) -> Iterator[TransactionResult]:
        """Yield results in the order of the queue. ``take`` gives the next job, ``put_back`` returns an unstarted one.

        Raises what ``before_final`` raised, after everything under way was answered.
        """
        while True:
            yield from self._load(take, put_back)
            if not self._riding:
                break
            try:
                sent, reply = self._dialogue.next_reply(self._deadline)
            except SessionFailure as exc:
                self._session.broken = True
                yield from self._lost(exc)
                break
            owner = sent.token
            assert isinstance(owner, Transaction)  # noqa: S101 - every command here is said by one
            try:
                owner.on_reply(sent, reply)
            except Exception as exc:  # noqa: BLE001 - whatever before_final raised; the session is not to blame
                self._stop_at(owner, exc)
            while self._riding and self._riding[0].transaction.finished:
                yield self._result(self._riding.popleft())
        if self._stopped is not None:
            raise self._stopped

    # -- loading

    def _load(self, take: Callable[[], Job | None], put_back: Callable[[Job], None]) -> Iterator[TransactionResult]:
        """Start what fits into the window; whatever the server cannot take at all is answered at once."""
        if self._before_final is not None and len(self._riding) > self._refill_below():
            return  # one call of before_final serves many
        batch: list[tuple[Job, Prepared, Manner]] = []
        while self._has_room(batch):
            job = take()
            if job is None:
                self._exhausted = True
                break
            try:
                prepared = prepare(
                    job.envelope,
                    job.data,
                    self._next_paths(job),
                    self._session.extensions,
                    self._session.config.signer,
                )
            except Unfit as exc:
                paths = job.remaining
                yield TransactionResult(job, paths, (exc.verdict,) * len(paths), 0.0)
                continue
            manner = self._manner(prepared, follows_in_batch=bool(batch))
            if not manner.overlaps and (self._riding or batch):
                put_back(job)
                break
            batch.append((job, prepared, manner))
            if not manner.overlaps:
                break
        self._start(batch)

    def _refill_below(self) -> int:
        """Return with how many under way the window is filled up again, so that the hook is called once for the rest.

        By halves the server is never without work, which counts where its answers are what takes long. Where they come
        faster than the hook returns, the hook is asked for whole windows.
        """
        return self._window // 2 if self._answer_seconds > _SLOW_ANSWER * self._hook_seconds else 0

    def _has_room(self, batch: list[tuple[Job, Prepared, Manner]]) -> bool:
        under_way = len(self._riding) + len(batch)
        if self._exhausted or self._stopped is not None or not self._session_goes_on(len(batch), under_way):
            return False
        if under_way == 0:
            return self._session.usage.transactions == 0 or self._session.is_alive()
        octets = sum(riding.octets for riding in self._riding) + sum(len(entry[1].content) for entry in batch)
        overlapping = all(entry.transaction.manner.overlaps for entry in self._riding)
        return overlapping and under_way < self._window and octets < self._session.config.wire.window_octets

    def _session_goes_on(self, in_batch: int, under_way: int) -> bool:
        session = self._session
        limits = session.config.pool
        most = min(limits.max_messages, session.extensions.max_messages or limits.max_messages)
        return (
            not session.broken
            and not self._deadline.expired
            and self._dialogue.protocol.state is not SessionState.MUST_QUIT
            and session.usage.transactions + in_batch < most
            and (under_way > 0 or session.usage.refusals_in_a_row < limits.max_refusals)
        )

    def _next_paths(self, job: Job) -> tuple[ForwardPath, ...]:
        most = self._session.extensions.max_recipients
        return job.remaining[:most] if most else job.remaining

    def _manner(self, prepared: Prepared, *, follows_in_batch: bool) -> Manner:
        session, wire = self._session, self._session.config.wire
        used = session.usage.transactions > 0 or follows_in_batch
        state = self._dialogue.protocol.assumed_state
        if self._transport is Transport.STEPWISE:
            return Manner(self._transport, reset_first=state is SessionState.TRANSACTION, envelope_first=False)
        reset_first = used or state is SessionState.TRANSACTION
        idle = self._clock() - session.usage.last_used
        envelope_first = (
            (not self._riding and not follows_in_batch and used and idle > wire.cautious_idle)
            or len(prepared.content) > wire.cautious_octets
            or len(prepared.paths) > wire.cautious_recipients
        )
        return Manner(self._transport, reset_first=reset_first, envelope_first=envelope_first)

    def _start(self, batch: list[tuple[Job, Prepared, Manner]]) -> None:
        overlapping = [job for job, _, manner in batch if manner.overlaps]
        if overlapping and self._before_final is not None:
            began = self._clock()
            try:
                self._before_final(overlapping)
            except Exception as exc:  # noqa: BLE001 - raised again once all under way is answered
                self._stopped = exc
                return
            self._hook_seconds = self._clock() - began
        session = self._session
        for job, prepared, manner in batch:
            hook = _nothing if manner.overlaps else self._hook_for(job)
            transaction = Transaction(prepared, manner, hook)
            now = self._clock()
            used, is_first = session.usage.transactions > 0, not self._riding
            self._riding.append(_Riding(job, transaction, now, used, len(prepared.content), is_first))
            session.usage.transactions += 1
            session.usage.last_used = now
            transaction.start(self._dialogue)

    def _hook_for(self, job: Job) -> Callable[[], None]:
        before_final = self._before_final
        return _nothing if before_final is None else lambda: before_final([job])

    # -- ending

    def _result(self, riding: _Riding, failure: SessionFailure | None = None) -> TransactionResult:
        transaction, usage = riding.transaction, self._session.usage
        verdicts = tuple(transaction.verdicts(self._dialogue, failure.failure if failure else None))
        usage.last_used = self._clock()
        if riding.is_first:
            self._answer_seconds = usage.last_used - riding.started
        if any(verdict.scope in {Scope.SESSION, Scope.CONFIGURATION} for verdict in verdicts):
            self._session.broken = True
        had_accepted = usage.accepted > 0
        if transaction.all_refused:
            usage.refusals_in_a_row += 1
        else:
            usage.refusals_in_a_row = 0
            usage.accepted += 1
        return TransactionResult(
            job=riding.job,
            paths=transaction.prepared.paths,
            verdicts=verdicts,
            seconds=usage.last_used - riding.started,
            mishandled=transaction.mishandled,
            session_was_used=riding.session_was_used,
            session_had_accepted=had_accepted,
            mail_reply=transaction.mail_reply,
            cause=(failure.__cause__ or failure) if failure else None,
        )

    def _lost(self, failure: SessionFailure) -> Iterator[TransactionResult]:
        while self._riding:
            riding = self._riding.popleft()
            yield self._result(riding, None if riding.transaction.finished else failure)

    def _stop_at(self, owner: Transaction, exc: Exception) -> None:
        """``before_final`` refused while ``owner`` waited to write its message: it goes out of the row, unsent."""
        if isinstance(exc, IllegalCommandError):
            raise exc
        self._stopped = exc
        self._session.broken = True
        self._riding = deque(riding for riding in self._riding if riding.transaction is not owner)


def _nothing() -> None:
    pass

"""Several relays behind one name: tried in order or by weight, and a mail goes to the next one only where that is safe.

What decides is the verdict. A relay that cannot be had, or a session that was lost before the end of data, says nothing
about the mail: the next relay may have it. What a relay said about the mail, the sender or a recipient would be said
again elsewhere, or worse, not; and a mail in doubt may have arrived already. Neither ever goes to another relay.

A ``RelayGroup`` stands where a ``SubmissionClient`` does. A relay that is given up costs nothing while its breaker is
open, and the first mail that finds it well again brings the others back: so the clients should have governors.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from robust_email.smtp.batch import FULL, ONCE, Effort, Submission
from robust_email.smtp.errors import RobustEmailError
from robust_email.smtp.lane import Lane
from robust_email.smtp.outcome import Disposition, Scope
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from robust_email.smtp.batch import BeforeFinal, Finished
    from robust_email.smtp.config import SmtpConfig
    from robust_email.smtp.envelope import Envelope
    from robust_email.smtp.maildata import MailData
    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.outcome import Verdict
    from robust_email.smtp.pool import SessionPool
    from robust_email.smtp.report import SubmissionReport
    from robust_email.smtp.session import Session
    from robust_email.smtp.submission import SubmissionClient


def goes_elsewhere(verdict: Verdict) -> bool:
    """Tell whether another relay may be given what this verdict is about.

    A refused log-in, or a wrong certificate, is a mistake that a person has to mend at this relay; it is logged as
    one, and the mail was never offered.
    """
    if verdict.phase is Phase.AWAIT_FINAL or verdict.disposition in {Disposition.ACCEPTED, Disposition.IN_DOUBT}:
        return False
    if verdict.scope is Scope.CONFIGURATION:
        return verdict.phase.opens_session
    return verdict.disposition is Disposition.DEFERRED and verdict.scope in {Scope.ENDPOINT, Scope.SESSION}


@dataclass(frozen=True, slots=True)
class Relay:
    """One of several. ``weight`` is its part of the mail among those that have one; 0 is for when these fail."""

    name: str
    client: SubmissionClient
    weight: int = 0


@dataclass(slots=True)
class _Trail:
    """A mail on its way through relays: the caller's submission, and what became of it so far."""

    submission: Submission
    reports: list[SubmissionReport] = field(default_factory=list)
    envelope: Envelope = field(init=False)

    def __post_init__(self) -> None:
        self.envelope = self.submission.envelope

    def add(self, report: SubmissionReport) -> bool:
        """Note a relay's report; whether somebody is left for the next relay."""
        self.reports.append(report)
        left = tuple(path for path in self.envelope.forward_paths if goes_elsewhere(report.verdicts[str(path)]))
        if not left:
            return False
        self.envelope = replace(self.envelope, forward_paths=left)
        return True

    def leg(self) -> Submission:
        """The mail as the next relay is given it; its key leads back here."""
        return replace(self.submission, envelope=self.envelope, key=self)

    def finished(self) -> Finished:
        """One report of all relays: the last verdict of each recipient, and every attempt."""
        last = self.reports[-1]
        verdicts = dict(self.reports[0].verdicts)
        for report in self.reports[1:]:
            verdicts.update(report.verdicts)
        attempts = tuple(itertools.chain.from_iterable(report.attempts for report in self.reports))
        whole = replace(
            last,
            verdicts=verdicts,
            attempts=tuple(replace(attempt, number=number) for number, attempt in enumerate(attempts, 1)),
            seconds=sum(report.seconds for report in self.reports),
        )
        return self.submission, whole


class RelayGroup:
    """Relays behind one name, with the interface of ``SubmissionClient``. For any thread."""

    def __init__(
        self,
        relays: Sequence[Relay],
        *,
        route: Callable[[Submission], Sequence[str]] | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """Raises ``ValueError`` for none, and for two of one name.

        ``route`` names the relays for a mail, first choice first; where it names none, the order is by weight. ``dice``
        draws by weight; as ``random.random``.
        """
        if not relays or len({relay.name for relay in relays}) != len(relays):
            raise ValueError("a group needs at least one relay, and a different name for each")
        self.relays = tuple(relays)
        self._route = route
        self._dice = dice

    @property
    def config(self) -> SmtpConfig:
        """The first relay's configuration."""
        return self.relays[0].client.config

    @property
    def clock(self) -> Callable[[], float]:
        """The first relay's monotonic seconds."""
        return self.relays[0].client.clock

    @property
    def pool(self) -> SessionPool:
        """The first relay's sessions."""
        return self.relays[0].client.pool

    def submit(
        self,
        envelope: Envelope,
        data: MailData,
        deadline: Deadline | None = None,
        *,
        lane: Lane = Lane.NORMAL,
        kind: str = "",
        before_final: BeforeFinal | None = None,
    ) -> SubmissionReport:
        """Hand over one mail, to the first relay that takes it; as ``SubmissionClient.submit``."""
        submission = Submission(envelope, data, kind=kind, lane=lane)
        trail, order = _Trail(submission), self._order(self._names(submission))
        for relay in order:
            effort = FULL if relay is order[-1] else ONCE
            report = relay.client.submit(
                trail.envelope, data, deadline, lane=lane, kind=kind, effort=effort, before_final=before_final
            )
            if not trail.add(report):
                break
        return trail.finished()[1]

    def submit_many(
        self,
        submissions: Iterable[Submission],
        *,
        deadline: Deadline | None = None,
        window: int | None = None,
        sessions: int = 1,
        before_final: BeforeFinal | None = None,
    ) -> Iterator[Finished]:
        """Hand over many; as ``SubmissionClient.submit_many``. Each run of mails with one route goes together.

        When the relay that is used fails, what it had under way and all that is still to come go to the next.
        """

        def hand_over(relay: Relay, legs: Iterator[Submission], effort: Effort) -> Iterator[Finished]:
            return relay.client.submit_many(
                legs,
                deadline=deadline,
                window=window,
                sessions=sessions,
                effort=effort,
                before_final=_outer(before_final),
            )

        for names, run in itertools.groupby(submissions, self._names):
            yield from _Run(self._order(names), run, hand_over).finished()

    def verify(self, deadline: Deadline | None = None) -> None:
        """Have a session ready at the first relay that gives one. Raises as ``SubmissionClient.verify``."""
        with self.lease(deadline):
            pass

    @contextmanager
    def lease(self, deadline: Deadline | None = None) -> Iterator[Session]:
        """Lend a session of the first relay that gives one. Raises what the last one did."""
        with ExitStack() as stack:
            yield self._lend(stack, deadline)

    def _lend(self, stack: ExitStack, deadline: Deadline | None) -> Session:
        order = self._order(())
        for relay in order[:-1]:
            with suppress(RobustEmailError):
                return stack.enter_context(relay.client.lease(deadline))
        return stack.enter_context(order[-1].client.lease(deadline))

    def close(self) -> None:
        """End the idle sessions of all."""
        for relay in self.relays:
            relay.client.close()

    def _names(self, submission: Submission) -> tuple[str, ...]:
        return tuple(self._route(submission)) if self._route else ()

    def _order(self, names: Sequence[str]) -> list[Relay]:
        """The relays to try, in order: as named, else drawn by weight, those without weight behind as they stand."""
        if names:
            known = {relay.name: relay for relay in self.relays}
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"there is no relay named {unknown[0]!r}, only {', '.join(known)}")
            return [known[name] for name in names]
        urn = [relay for relay in self.relays if relay.weight > 0]
        drawn = []
        while urn:
            ticket = self._dice() * sum(relay.weight for relay in urn)
            for relay in urn:
                ticket -= relay.weight
                if ticket < 0:
                    break
            drawn.append(relay)
            urn.remove(relay)
        return drawn + [relay for relay in self.relays if relay.weight <= 0]


class _Run:
    """Many mails that share an order of relays."""

    def __init__(
        self,
        order: list[Relay],
        source: Iterable[Submission],
        hand_over: Callable[[Relay, Iterator[Submission], Effort], Iterator[Finished]],
    ) -> None:
        self._order = order
        self._source = iter(source)
        self._hand_over = hand_over
        self._left: deque[_Trail] = deque()
        self._failed = False

    def finished(self) -> Iterator[Finished]:
        for relay in self._order:
            is_last = relay is self._order[-1]
            behind, self._failed = deque[_Trail](), False
            for leg, report in self._hand_over(relay, self._legs(), FULL if is_last else ONCE):
                trail = leg.key
                assert isinstance(trail, _Trail)  # noqa: S101 - as _legs made it
                if trail.add(report) and not is_last:
                    # Nothing more is taken for this relay: it would get the same verdict, and be kept in memory.
                    self._failed = True
                    behind.append(trail)
                else:
                    yield trail.finished()
            self._left = behind + self._left
            if not self._failed:
                return

    def _legs(self) -> Iterator[Submission]:
        while not self._failed:
            trail = self._left.popleft() if self._left else None
            if trail is None:
                submission = next(self._source, None)
                if submission is None:
                    return
                trail = _Trail(submission)
            yield trail.leg()


def _outer(before_final: BeforeFinal | None) -> BeforeFinal | None:
    """Show the hook the caller's own submissions."""
    if before_final is None:
        return None
    return lambda legs: before_final([leg.key.submission if isinstance(leg.key, _Trail) else leg for leg in legs])

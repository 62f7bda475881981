"""One mail, or one batch, from the outbox to the relay: claim | submit | settle. Start reading at ``run_batch``.

No transaction is open while a relay is spoken to. ``DATA_STARTED`` is committed before the end-of-data mark of a mail
may leave, so a worker that dies leaves one of three readable cases: never begun, in doubt, done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DbError

from robust_email.outbox import storage, tracing
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import UNAVAILABLE, after_a_grace, database, logger, until_it_holds
from robust_email.outbox.handover import hand_over
from robust_email.outbox.heartbeat import Heartbeat
from robust_email.outbox.models import TEXT_LENGTH, OutboxMessage
from robust_email.outbox.relays import Relay, backend_for
from robust_email.outbox.services import claims, troubles
from robust_email.outbox.services.claims import Claim, LeaseLost
from robust_email.outbox.services.scrubbing import SCRUBBED_STATES, is_scrubbed
from robust_email.outbox.services.settling import Finished, Settled, settle
from robust_email.outbox.services.withholding import withhold
from robust_email.outbox.signals import settled as settled_signal
from robust_email.outbox.states import State
from robust_email.smtp import Disposition, Phase, Scope, SubmissionReport, Verdict
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.transcript import masked

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from django.core.mail.backends.base import BaseEmailBackend

Stop = Callable[[], bool]
"""Whether the worker is to end: what is under way is finished, the rest is given back."""


PAUSE_AFTER_ERROR: Final = 60.0
"""Seconds before a mail is tried again that ended in an error nobody foresaw."""


def never() -> bool:
    """Go on."""
    return False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one mail. ``next_attempt_at`` is set where it waits for another attempt."""

    pk: UUID
    state: State
    next_attempt_at: datetime | None
    report: SubmissionReport | None = field(default=None, repr=False)


@dataclass(slots=True)
class Tally:
    """What came of a batch: mails claimed, given back, and ended or waiting again by state."""

    claimed: int = 0
    released: int = 0
    states: Counter[State] = field(default_factory=Counter)
    last: Outcome | None = None

    def add(self, other: Tally) -> None:
        """Count another batch too."""
        self.claimed += other.claimed
        self.released += other.released
        self.states.update(other.states)
        self.last = other.last or self.last


def run_one(pk: UUID, *, stop: Stop = never) -> Outcome | None:
    """Hand over one mail if it is due and nobody has it; None if there was nothing to do."""
    return _run(claims.claim(1, pk=pk), stop).last


def run_batch(limit: int | None = None, *, stop: Stop = never) -> Tally:
    """Hand over up to ``limit`` mails that are due (default: ``EMAIL_OUTBOX_BATCH``).

    Raises ``django.db.Error`` if none could be claimed; from then on nothing that a mail, a relay or the database does.
    """
    return _run(claims.claim(limit or outbox_settings().batch), stop)


def _run(claim: Claim, stop: Stop) -> Tally:
    tally = Tally(claimed=len(claim.rows))
    if not claim.rows:
        return tally
    claim, ended = withhold(claim, after_a_grace(stop))
    _announce(tally, ended)
    by_relay = sorted(claim.rows, key=lambda row: row.relay)
    with Heartbeat(claim.token), tracing.handing_over(claim.rows):
        for name, rows in groupby(by_relay, key=lambda row: row.relay):
            _RelayRun(claim, name, list(rows), tally, stop).run()
    return tally


class _RelayRun:
    """The mails of one claim that leave through one relay, and what is known of them but not yet written down."""

    def __init__(self, claim: Claim, relay: str, rows: list[OutboxMessage], tally: Tally, stop: Stop) -> None:
        self._claim = claim
        self._relay = relay
        self._rows = rows
        self._tally = tally
        self._stop = stop
        self._give_up = after_a_grace(stop)
        self._using = database()
        self._finished: list[Finished] = []
        self._rest: dict[UUID, OutboxMessage] = {row.pk: row for row in rows}
        """Of which nothing is known yet."""
        self._marked: set[UUID] = set()
        """Of these the relay may have something."""
        self._relay_answered = False

    def run(self) -> None:
        """Bring every row to an end, or give it back."""
        try:
            backend = backend_for(Relay(self._relay, self._rows[0].relay_sealed))
        except ImproperlyConfigured as exc:
            self._finished += [Finished(row, _misconfigured(row, self._relay, exc)) for row in self._rows]
        else:
            self._hand_over(self._rows, backend)
        self._write()
        self._account_for_rest()
        if self._relay_answered:
            self._persist(lambda: troubles.is_over(self._relay, self._using))

    def _hand_over(self, rows: Sequence[OutboxMessage], backend: BaseEmailBackend) -> None:
        try:
            for finished in hand_over(self._claim, self._unless_stopped(rows), backend, self._before_final):
                self._note(finished)
        except LeaseLost as exc:
            logger.warning("Stopped before the end of data: %s", exc)
        except DbError as exc:
            logger.warning("Stopped before the end of data: the database is away (%s)", type(exc).__name__)
        except ImproperlyConfigured as exc:
            self._finished += [Finished(row, _misconfigured(row, self._relay, exc)) for row in self._untouched(rows)]
            self._write()
        except Exception as exc:  # noqa: BLE001 - nothing that one mail does may stop the others
            logger.exception("Handing over %d mails to %s failed", len(rows), self._relay)
            self._write()
            self._find_culprit(rows, backend, exc)

    def _find_culprit(self, rows: Sequence[OutboxMessage], backend: BaseEmailBackend, exc: Exception) -> None:
        """Try the untouched ones one by one, so that the mail that broke the others is known and ends alone."""
        untouched = self._untouched(rows)
        if len(rows) > 1:
            for row in untouched:
                self._hand_over([row], backend)
            return
        for row in untouched:
            reason = f"{type(exc).__name__}: {masked(str(exc))}"[:TEXT_LENGTH]
            if row.lost_leases + 1 >= outbox_settings().max_lost_leases:
                self._finished.append(Finished(row, None, reason))
            else:  # it may be about this process (a time limit, no memory) and not about the mail
                self._rest.pop(row.pk)
                self._tally.released += claims.release(
                    self._claim.token, [row.pk], reason=reason, delay=PAUSE_AFTER_ERROR, lost=True
                )

    def _untouched(self, rows: Iterable[OutboxMessage]) -> list[OutboxMessage]:
        return [row for row in rows if row.pk in self._rest and row.pk not in self._marked]

    def _unless_stopped(self, rows: Iterable[OutboxMessage]) -> Iterator[OutboxMessage]:
        for row in rows:
            if self._stop():
                return
            yield row

    def _note(self, finished: Finished) -> None:
        self._finished.append(finished)
        self._rest.pop(finished.row.pk, None)
        report = finished.report
        if report is not None and any(_answered(verdict) for verdict in report.verdicts.values()):
            self._relay_answered = True

    # -- writing down

    def _before_final(self, pks: Sequence[UUID]) -> None:
        """Write down what is known, and that these are about to leave: one commit, before the end of data may."""
        self._write(pks)
        self._marked.update(pks)

    def _write(self, marks: Sequence[UUID] = ()) -> None:
        """Write until it holds: what a relay has accepted is never submitted again because our database was away."""
        finished, self._finished = self._finished, []
        for each in finished:
            self._rest.pop(each.row.pk, None)
        if not (finished or marks):
            return
        try:
            _announce(self._tally, self._persist(lambda: settle(self._claim, finished, marks, self._using)))
        except LeaseLost:
            # Nothing was written; what is known must be, all the same.
            self._write_singly(finished)
            raise
        except DbError:
            self._write_singly(finished)
            if marks:
                raise

    def _write_singly(self, finished: Sequence[Finished]) -> None:
        """After an error that is about one of them: the others must not stay unwritten for it."""
        for each in finished:
            try:
                _announce(self._tally, self._persist(lambda one=each: settle(self._claim, [one], (), self._using)))
            except DbError:
                logger.exception("What came of mail %s cannot be written down; it ends in doubt", each.row.pk)

    def _persist(self, change: Callable[[], list[Settled]] | Callable[[], bool]) -> list[Settled]:
        found = until_it_holds(change, using=self._using, give_up=self._give_up)
        return found if isinstance(found, list) else []

    def _account_for_rest(self) -> None:
        """Give back what was not begun. What was begun and has no verdict waits for the sweep, which finds a doubt."""
        untouched = [pk for pk in self._rest if pk not in self._marked]
        try:
            self._tally.released += claims.release(self._claim.token, untouched)
        except UNAVAILABLE as exc:
            logger.warning("%d mails could not be given back (%s); the sweep will", len(untouched), type(exc).__name__)


def _announce(tally: Tally, settled: Sequence[Settled]) -> None:
    """Count what was written down, and tell who listens."""
    for each in settled:
        each.row.state = each.state
        each.row.next_attempt_at = each.next_attempt_at
        tally.states[each.state] += 1
        tally.last = Outcome(each.row.pk, each.state, each.next_attempt_at, each.report)
        if each.state is State.DEAD or each.state is State.IN_DOUBT:
            logger.error("Mail %s (%s) is %s", each.row.pk, each.row.message_id, each.state.value)
        if each.state in SCRUBBED_STATES and is_scrubbed(each.row):
            storage.remove_files([each.row.content_name])
        settled_signal.send_robust(sender=OutboxMessage, message=each.row, report=each.report)


def _answered(verdict: Verdict) -> bool:
    """Tell whether the relay was there and spoke about the mail."""
    return (verdict.scope not in {Scope.ENDPOINT, Scope.CONFIGURATION} and verdict.reply is not None) or (
        verdict.disposition is Disposition.ACCEPTED
    )


def _misconfigured(row: OutboxMessage, relay: str, exc: Exception) -> SubmissionReport:
    failure = Failure(FailureKind.LOCAL, Phase.CONNECT, masked(str(exc)))
    verdict = Verdict(Disposition.REFUSED, Scope.CONFIGURATION, Phase.CONNECT, failure=failure)
    return SubmissionReport(row.message_id, relay, {"": verdict}, cause=exc)

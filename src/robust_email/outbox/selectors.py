"""Reads. None walks the mails that have ended well: what is counted is waiting, in doubt, or given up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Count, Min

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import database, database_now
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, OutboxRelay, SubmissionAttempt
from robust_email.outbox.states import LEASED, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

COUNTED_ENDS: Final = (State.DEAD, State.IN_DOUBT, State.PARTLY, State.REFUSED)
"""Ends that somebody may want to know of. Accepted mails may be millions, and are not counted."""


@dataclass(frozen=True, slots=True)
class RelayHealth:
    """What waits for one relay, and what is wrong with it. Ages are seconds."""

    name: str
    waiting: int
    overdue: float
    trouble: str = ""
    reason: str = ""
    ask_again_in: float | None = None
    troubled_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person should see to. ``code`` is for machines and stable; ``text`` holds no address."""

    code: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Health:
    """The outbox at a glance. Counts are mails, ages are seconds."""

    queued: int
    due: int
    """Of the queued ones those whose time has come."""
    under_way: int
    lapsed: int
    """Under way by a worker that gave no sign: the sweep has not run."""
    ended: dict[str, int]
    """By state, those of ``COUNTED_ENDS``."""
    overdue: float
    """How long the one that is due longest has been due."""
    oldest: float
    """How long ago the oldest waiting one was made."""
    alert_age: float
    """From which ``overdue`` is a finding."""
    relays: tuple[RelayHealth, ...] = field(default=())

    @property
    def problems(self) -> list[Problem]:
        """What is wrong; empty if nothing is. ``outbox_status``, the health view and the doctor all say this."""
        found = []
        if self.overdue > self.alert_age:
            text = f"A mail has been due for {self.overdue:.0f} s (limit {self.alert_age:.0f} s): does any worker run?"
            found.append(Problem("overdue", text, "Start a worker: manage.py outbox_drain --forever, or Celery's."))
        if self.lapsed:
            text = f"{self.lapsed} mails are held by workers that gave no sign: does the sweep run?"
            found.append(Problem("lapsed", text, "Run the sweep: outbox_drain does, and so does Celery beat."))
        return found + [problem for relay in self.relays if (problem := self._problem_of(relay)) is not None]

    def _problem_of(self, relay: RelayHealth) -> Problem | None:
        if relay.trouble == OutboxRelay.Trouble.MISCONFIGURED:
            text = f"Relay {relay.name} refuses our configuration: {relay.reason}"
            return Problem(
                "relay-misconfigured", text, "Run email_doctor, and outbox_requeue --relay once it is fixed."
            )
        if relay.trouble == OutboxRelay.Trouble.PAUSED and relay.troubled_for > self.alert_age:
            text = f"Relay {relay.name} has been paused for {relay.troubled_for:.0f} s, and {relay.waiting} mails wait."
            return Problem("relay-paused", text, "Resume it in the admin, or by outbox_requeue --relay.")
        return None

    @property
    def findings(self) -> list[str]:
        """The problems, in words."""
        return [problem.text for problem in self.problems]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**asdict(self), "findings": self.findings}


def health(*, alert_age: float | None = None) -> Health:
    """Count what waits and what needs a person, by the indexes over these.

    ``alert_age`` (seconds) stands for ``EMAIL_OUTBOX_ALERT_AGE``.
    """
    using = database()
    now = database_now(using)
    queued = OutboxMessage.objects.using(using).filter(next_attempt_at__isnull=False)
    leased = OutboxMessage.objects.using(using).filter(lease_until__isnull=False, state__in=LEASED)
    due = queued.filter(next_attempt_at__lte=now)
    ended = OutboxMessage.objects.using(using).filter(state__in=COUNTED_ENDS, finished_at__isnull=False)
    # COUNT(*), and not of a column: so the index alone answers.
    counts = dict(ended.values_list("state").annotate(count=Count("*")).order_by())
    first_due = due.aggregate(first=Min("next_attempt_at"))["first"]
    oldest = queued.aggregate(first=Min("created_at"))["first"]
    return Health(
        queued=queued.count(),
        due=due.count(),
        under_way=leased.count(),
        lapsed=leased.filter(lease_until__lt=now - timedelta(seconds=2 * outbox_settings().sweep)).count(),
        ended={state.value: counts.get(state.value, 0) for state in COUNTED_ENDS},
        overdue=_age(first_due, now),
        oldest=_age(oldest, now),
        alert_age=outbox_settings().alert_age if alert_age is None else alert_age,
        relays=tuple(_relays(using, now)),
    )


def _relays(using: str, now: datetime) -> list[RelayHealth]:
    waiting = {
        name: (count, first)
        for name, count, first in OutboxMessage.objects.using(using)
        .filter(next_attempt_at__isnull=False)
        .values_list("relay")
        .annotate(count=Count("pk"), first=Min("next_attempt_at"))
        .order_by("relay")
    }
    troubled = {relay.name: relay for relay in OutboxRelay.objects.using(using).all()}
    found = []
    for name in sorted({*waiting, *troubled}):
        count, first = waiting.get(name, (0, None))
        relay = troubled.get(name)
        found.append(
            RelayHealth(
                name=name,
                waiting=count,
                overdue=_age(first, now),
                trouble=relay.trouble if relay else "",
                reason=relay.reason if relay else "",
                ask_again_in=max(0.0, (relay.ask_again_at - now).total_seconds()) if relay else None,
                troubled_for=_age(relay.since, now) if relay else 0.0,
            )
        )
    return found


def _age(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0


def left_behind(limit: int, *, seconds: float) -> list[UUID]:
    """Return the keys of mails that have been due for that long: nobody was told of them, or he has forgotten."""
    using = database()
    before = database_now(using) - timedelta(seconds=seconds)
    due = OutboxMessage.objects.using(using).filter(next_attempt_at__lte=before, state=State.QUEUED)
    return list(due.order_by("priority", "next_attempt_at").values_list("pk", flat=True)[:limit])


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to a mail."""

    at: datetime
    what: str
    detail: str = ""
    attempt: SubmissionAttempt | None = None


def timeline(message: OutboxMessage) -> list[TimelineEntry]:
    """Return one mail's life in order: made, each attempt, and how it ended or when it goes on."""
    entries = [TimelineEntry(message.created_at, "enqueued", message.kind)]
    if message.send_after is not None:
        entries.append(TimelineEntry(message.send_after, "not before"))
    attempts: Sequence[SubmissionAttempt] = list(message.submission_attempts.all())
    entries += [TimelineEntry(each.ended_at, each.disposition, each.reply, each) for each in attempts]
    if message.lease_until is not None:
        entries.append(TimelineEntry(message.lease_until, f"{message.state} until", message.lease_owner))
    if message.next_attempt_at is not None:
        entries.append(TimelineEntry(message.next_attempt_at, "next attempt", message.reason))
    if message.finished_at is not None:
        entries.append(TimelineEntry(message.finished_at, message.state, message.reason))
    return sorted(entries, key=lambda entry: entry.at)


def messages_to(addresses: Iterable[str]) -> QuerySet[OutboxMessage]:
    """Return the mails for any of these recipients, compared as written; the newest first, without their bodies."""
    keys = OutboxRecipient.objects.using(database()).filter(address__in=list(addresses)).values("message_id")
    return OutboxMessage.objects.using(database()).filter(pk__in=keys).defer("content").order_by("-created_at")

"""How much may be handed over in how long: ``Rate.parse("14/s")``, and the count of what was. Pure.

A provider that allows 30 a minute looks back one minute from each mail, by its own clock, when the mail arrives. So
the window slides here too, and what was granted counts a little longer than the window: granted in the order A, B,
two mails may arrive closer together than they left. Counts are kept in ``BUCKETS`` parts of the window, so that 50,000
a day take no more room than 14 a second.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from robust_email.smtp.governor.interface import RateUse
from robust_email.smtp.lane import Lane

BUCKETS = 50
MARGIN = 1
"""Buckets longer than its window that a grant counts; with the bucket it fell into, 2 to 4 % of the window."""
PRIORITY_SHARE = 0.05
"""Of a limit that only the priority lane may use, rounded down, while there are priority mails."""
REMEMBER_PRIORITY = 10
"""Windows for which the share is kept after a priority mail."""
KEPT = 5.0
"""Seconds for which a turn that has come is kept while its caller gets a session."""
SHORTEST = 0.001
"""Seconds: a wait that rounding has made nothing of is still a wait."""
GRACE = 1.0
"""Seconds after its turn that a caller may still come; then it counts as gone."""

_PATTERN = re.compile(
    r"(?P<limit>\d+)\s*(?P<unit>message|recipient)?s?\s*/\s*(?P<count>\d*\.?\d*)\s*"
    r"(?P<span>s|sec|second|m|min|minute|h|hour|d|day)s?",
    re.IGNORECASE,
)
_SPANS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Unit(enum.Enum):
    """What a rate counts; Amazon SES, say, counts recipients."""

    MESSAGES = "messages"
    RECIPIENTS = "recipients"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``limit`` in any ``seconds``."""

    limit: int
    seconds: float
    unit: Unit = Unit.MESSAGES

    def __post_init__(self) -> None:
        """Refuse what lets nothing through: ``ValueError``."""
        if self.limit < 1 or not 0 < self.seconds < float("inf"):
            raise ValueError(f"a rate lets at least one through in a finite time, not {self}")

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read ``14/s``, ``30/m``, ``10000/day``, ``100/15m``, ``50 recipients/h``; raises ``ValueError``."""
        found = _PATTERN.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"a rate is written like 14/s, 30/m, 1000/h or 50 recipients/d, not {text!r}")
        unit = Unit.RECIPIENTS if (found["unit"] or "").lower() == "recipient" else Unit.MESSAGES
        return cls(int(found["limit"]), float(found["count"] or 1) * _SPANS[found["span"][0].lower()], unit)

    @classmethod
    def parse_all(cls, text: str) -> tuple[Rate, ...]:
        """Read several, with commas between; all hold at once."""
        return tuple(cls.parse(part) for part in text.split(",") if part.strip())

    def __str__(self) -> str:
        """Write it as it can be parsed."""
        span = max((name for name in _SPANS if self.seconds % _SPANS[name] == 0), key=_SPANS.__getitem__, default="s")
        count = self.seconds / _SPANS[span]
        what = f"{self.limit} recipients" if self.unit is Unit.RECIPIENTS else str(self.limit)
        return f"{what}/{'' if count == 1 else f'{count:.15g}'}{span}"

    @property
    def bucket(self) -> float:
        """Seconds of one part of the window."""
        return self.seconds / BUCKETS


@dataclass(slots=True)
class Queue:
    """Callers told to wait: by name their lane and how long they are believed in. They ask again by themselves."""

    callers: dict[str, tuple[int, float]] = field(default_factory=dict)

    def forget_gone(self, now: float) -> None:
        """Drop those whose time to ask again has passed."""
        self.callers = {name: entry for name, entry in self.callers.items() if entry[1] > now}

    def ahead(self, caller: str, lane: Lane, *, same_lane: bool) -> int:
        """How many go before: those in higher lanes; with ``same_lane`` also those of this one that came earlier."""
        count = 0
        met = False
        for name, (other, _) in self.callers.items():
            met = met or name == caller
            count += name != caller and (other < lane or (same_lane and other == lane and not met))
        return count

    def put(self, caller: str, lane: Lane, until: float) -> None:
        """Queue a caller; one that is there keeps its place."""
        self.callers[caller] = (int(lane), until)

    def by_lane(self) -> dict[str, int]:
        """Count those who wait."""
        lanes = [lane for lane, _ in self.callers.values()]
        return {lane.name.lower(): lanes.count(lane) for lane in Lane}


@dataclass(frozen=True, slots=True)
class Request:
    """A message that wants to go: whose it is, to how many people, and how long (seconds) its caller would wait."""

    caller: str
    lane: Lane
    recipients: int
    patience: float
    now: float
    only_look: bool = False
    """Ask, without using anything up."""


@dataclass(slots=True)
class RateBook:
    """What was granted lately: by rate (as text) the counts by number of the bucket, and who waits."""

    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    queue: Queue = field(default_factory=Queue)
    last_priority: float = float("-inf")

    def take(self, rates: tuple[Rate, ...], factor: float, request: Request) -> float:
        """Grant the message and return 0.0, or return the seconds until it is its turn.

        ``factor`` (0 to 1) is what adaptation leaves of the limits. A message that alone exceeds a limit goes when
        nothing else was granted in that window: better late than never. Who would wait longer than his patience is not
        queued, so that nobody waits for one who has left.
        """
        now, caller = request.now, request.caller
        self._advance(rates, now)
        if request.lane is Lane.PRIORITY:
            self.last_priority = now
        higher = self.queue.ahead(caller, request.lane, same_lane=False)
        if all(self._wait(rate, _allowed(rate, factor), request, higher) <= 0 for rate in rates):
            if request.only_look:
                self.queue.put(caller, request.lane, now + KEPT)
                return 0.0
            self.queue.callers.pop(caller, None)
            for rate in rates:
                counts, number = self.counts[str(rate)], int(now / rate.bucket)
                counts[number] = counts.get(number, 0) + _cost(rate, request.recipients)
            return 0.0
        before = self.queue.ahead(caller, request.lane, same_lane=True)
        turn = max(self._wait(rate, _allowed(rate, factor), request, before) for rate in rates)
        if turn <= request.patience:
            self.queue.put(caller, request.lane, now + turn + GRACE)
        else:
            self.queue.callers.pop(caller, None)
        return turn

    def uses(self, rates: tuple[Rate, ...], factor: float, now: float) -> tuple[RateUse, ...]:
        """Report what is used of what is allowed."""
        self._advance(rates, now)
        return tuple(RateUse(str(rate), _allowed(rate, factor), sum(self.counts[str(rate)].values())) for rate in rates)

    def _advance(self, rates: tuple[Rate, ...], now: float) -> None:
        self.queue.forget_gone(now)
        counted = self.counts
        self.counts = {}
        for rate in rates:
            oldest = int(now / rate.bucket) - BUCKETS - MARGIN
            before = counted.get(str(rate), {})
            self.counts[str(rate)] = {number: count for number, count in before.items() if number >= oldest}

    def _wait(self, rate: Rate, allowed: int, request: Request, before: int) -> float:
        """Seconds until this rate has room for the message and for ``before`` others like it."""
        counts, now = self.counts[str(rate)], request.now
        if request.lane is not Lane.PRIORITY and now - self.last_priority < REMEMBER_PRIORITY * rate.seconds:
            allowed -= int(allowed * PRIORITY_SHARE)
        cost = min(_cost(rate, request.recipients), allowed)
        missing = cost * (1 + before) - (allowed - sum(counts.values()))
        if missing <= 0:
            return 0.0
        for number in sorted(counts):
            missing -= counts[number]
            if missing <= 0:
                return max(SHORTEST, (number + BUCKETS + MARGIN + 1) * rate.bucket - now)
        return rate.seconds * (1 + (missing - 1) // allowed)  # more wait than one window lets through


def _cost(rate: Rate, recipients: int) -> int:
    return recipients if rate.unit is Unit.RECIPIENTS else 1


def _allowed(rate: Rate, factor: float) -> int:
    return max(1, int(rate.limit * factor))

"""Who holds a connection to the relay: leases that end by themselves when their holder has died. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robust_email.smtp.governor.rates import Queue

if TYPE_CHECKING:
    from robust_email.smtp.governor.rates import Request

SHORTEST_WAIT = 0.05
LONGEST_WAIT = 1.0
"""Seconds until somebody who waits asks again: the more wait, the later."""
CLOSING = 0.25
"""Seconds for which a connection that we have ended still counts: the server has yet to read our QUIT."""


@dataclass(slots=True)
class Hold:
    """One connection: until when its holder is believed to live, since when it has it, and in which lane."""

    until: float
    since: float
    lane: int


@dataclass(frozen=True, slots=True)
class Demand:
    """Who waits: how many, and the highest lane among them (a number, lower is higher; 99 for nobody)."""

    waiting: int
    highest_lane: int


@dataclass(slots=True)
class PermitBook:
    """The connections held by everybody, by permit, and who waits for one."""

    holds: dict[str, Hold] = field(default_factory=dict)
    queue: Queue = field(default_factory=Queue)

    def advance(self, now: float) -> None:
        """Drop the holds and the waiting of those who are gone."""
        self.holds = {permit: hold for permit, hold in self.holds.items() if hold.until > now}
        self.queue.forget_gone(now)

    def take(self, permit: str, limit: int, lease: float, request: Request) -> float:
        """Note ``permit`` as held for ``lease`` seconds and return 0.0, or return the seconds until asking again."""
        now, caller, lane = request.now, request.caller, request.lane
        self.advance(now)
        if len(self.holds) + self.queue.ahead(caller, lane, same_lane=False) < limit:
            self.queue.callers.pop(caller, None)
            self.holds[permit] = Hold(now + lease, now, int(lane))
            return 0.0
        before = self.queue.ahead(caller, lane, same_lane=True)
        wait = min(LONGEST_WAIT, SHORTEST_WAIT * (1 + before))
        if wait <= request.patience:
            self.queue.put(caller, lane, now + 2 * wait + LONGEST_WAIT)
        else:
            self.queue.callers.pop(caller, None)
        return wait

    def renew(self, permits: dict[str, Hold], lease: float, now: float) -> Demand:
        """Extend what a living process holds, though the store has lost it, since the server counts it all the same."""
        self.advance(now)
        for permit, hold in permits.items():
            self.holds[permit] = Hold(now + lease, self.holds.get(permit, hold).since, hold.lane)
        return self.demand()

    def release(self, permit: str, now: float, *, used: bool) -> None:
        """End a hold; a moment later than asked, if a connection was ``used``."""
        self.advance(now)
        if not used:
            self.holds.pop(permit, None)
        elif permit in self.holds:
            self.holds[permit].until = now + CLOSING

    def demand(self) -> Demand:
        """Who waits now."""
        lanes = [lane for lane, _ in self.queue.callers.values()]
        return Demand(len(lanes), min(lanes, default=99))

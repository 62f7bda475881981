"""A thousand workers and fifty relays in virtual time: what the governor's rules come to, without a socket or a sleep.

``python -m benchmarks.simulation [--out FOLDER]`` runs half an hour of it and draws the picture for the docs.

The rules are the library's own (``smtp.governor``); the workers, the relays and the clock are simulated. Each relay
allows three connections and thirty messages a minute, counts by itself over a sliding minute, and is under more load
than it allows all the time. Workers are killed while they hold connections; one relay in ten is out for ten minutes.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from robust_email.smtp.governor import BreakerPolicy, Lane, Rate, Wait
from robust_email.smtp.governor.breaker import Circuit
from robust_email.smtp.governor.permits import PermitBook
from robust_email.smtp.governor.rates import RateBook, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ROOT = Path(__file__).parent.parent
RATE = Rate(30, 60.0)
CONNECTIONS = 3
LEASE = 15.0
LANES = {Lane.PRIORITY: 0.05, Lane.NORMAL: 0.25, Lane.BULK: 0.70}


@dataclass(frozen=True)
class World:
    """What is simulated. Times are seconds."""

    workers: int = 1000
    relays: int = 50
    seconds: float = 1800.0
    governed: bool = True
    """Without, workers submit as soon as they can, and come again after a pause when refused."""
    kills: float = 0.002
    """Of all mails: the worker dies while it holds a connection, and another takes its place."""
    outage: tuple[float, float] = (600.0, 1200.0)
    """Of every tenth relay."""
    seed: int = 1


@dataclass
class Relay:
    """A provider that counts for itself, and what its users know of it."""

    number: int
    out: bool
    rates: RateBook = field(default_factory=RateBook)
    permits: PermitBook = field(default_factory=PermitBook)
    circuit: Circuit = field(default_factory=Circuit)
    arrived: deque[float] = field(default_factory=deque)
    open: int = 0
    accepted: list[float] = field(default_factory=list)
    too_many_messages: int = 0
    too_many_connections: int = 0
    tried_while_out: int = 0

    def is_out(self, world: World, now: float) -> bool:
        """Whether nobody answers there."""
        return self.out and world.outage[0] <= now < world.outage[1]

    def takes_connection(self) -> bool:
        """Count a connection."""
        if self.open >= CONNECTIONS:
            self.too_many_connections += 1
            return False
        self.open += 1
        return True

    def takes_mail(self, now: float) -> bool:
        """Count a message over the last minute."""
        while self.arrived and self.arrived[0] <= now - RATE.seconds:
            self.arrived.popleft()
        if len(self.arrived) >= RATE.limit:
            self.too_many_messages += 1
            return False
        self.arrived.append(now)
        self.accepted.append(now)
        return True


class Simulation:
    """Workers as generators that yield how long they wait; a heap of who is next."""

    def __init__(self, world: World) -> None:
        """Set the scene."""
        self.world = world
        self.now = 0.0
        self.dice = random.Random(world.seed)  # noqa: S311 - a simulation
        self.relays = [Relay(number, out=number % 10 == 0) for number in range(world.relays)]
        self.waits: dict[Lane, list[float]] = {lane: [] for lane in Lane}
        self._policy = BreakerPolicy()
        self._permits = 0

    def run(self) -> Simulation:
        """Until time is up."""
        life = self._governed if self.world.governed else self._naive
        # Mail goes in bursts, one to a minute. They begin apart, so that no minute of the picture has them all.
        begin = [self.dice.uniform(0, RATE.seconds) for _ in self.relays]
        queue = [
            (begin[number % len(begin)] + self.dice.uniform(0, 5), number, self._worker(number, life))
            for number in range(self.world.workers)
        ]
        heapq.heapify(queue)
        while queue and queue[0][0] < self.world.seconds:
            self.now, number, worker = heapq.heappop(queue)
            heapq.heappush(queue, (self.now + next(worker), number, worker))
        return self

    def _worker(self, number: int, life: Callable[[Relay, Lane, str], Generator[float]]) -> Generator[float]:
        relay = self.relays[number % len(self.relays)]
        while True:
            lane = self.dice.choices(list(LANES), list(LANES.values()))[0]
            asked = self.now
            yield from life(relay, lane, f"w{number}")
            self.waits[lane].append(self.now - asked)
            yield self.dice.uniform(1, 20) if lane is Lane.PRIORITY else 0.01

    # -- with the library's rules

    def _governed(self, relay: Relay, lane: Lane, caller: str) -> Generator[float]:
        while True:
            yield from self._until_granted(relay, lane, caller, only_look=True)
            permit = yield from self._permit(relay, lane, caller)
            standing = relay.circuit.ask(self._policy, self.now, permit)
            if isinstance(standing, Wait):
                relay.permits.release(permit, self.now, used=False)
                yield standing.seconds
                continue
            if (yield from self._connects(relay)):
                break
            relay.circuit.failed(self._policy, "time-out", self.now, self.dice.random(), standing)
            relay.permits.release(permit, self.now, used=False)
        relay.circuit.succeeded(self.now)
        wait = relay.rates.take((RATE,), 1.0, Request(caller, lane, 1, 60.0, self.now))
        if not wait:
            yield self.dice.uniform(0.02, 0.4)  # MAIL is on its way
            relay.takes_mail(self.now)
            yield self.dice.uniform(0.1, 1.0)
        relay.open -= 1
        if self.dice.random() < self.world.kills:
            return  # nobody gives the permit back
        relay.permits.release(permit, self.now, used=True)
        if wait:
            yield wait
            yield from self._governed(relay, lane, caller)

    def _until_granted(self, relay: Relay, lane: Lane, caller: str, *, only_look: bool) -> Generator[float]:
        while wait := relay.rates.take((RATE,), 1.0, Request(caller, lane, 1, 3600.0, self.now, only_look=only_look)):
            yield wait

    def _permit(self, relay: Relay, lane: Lane, caller: str) -> Generator[float, None, str]:
        while True:
            self._permits += 1
            permit = f"p{self._permits}"
            wait = relay.permits.take(permit, CONNECTIONS, LEASE, Request(caller, lane, 1, 60.0, self.now))
            if not wait:
                return permit
            yield wait

    # -- without

    def _naive(self, relay: Relay, _lane: Lane, _caller: str) -> Generator[float]:
        while True:
            if (yield from self._connects(relay)):
                yield self.dice.uniform(0.02, 0.4)
                taken = relay.takes_mail(self.now)
                yield self.dice.uniform(0.1, 1.0)
                relay.open -= 1
                if taken:
                    return
            yield self.dice.uniform(2, 10)

    def _connects(self, relay: Relay) -> Generator[float, None, bool]:
        if relay.is_out(self.world, self.now):
            relay.tried_while_out += 1
            yield 10.0  # a connect time-out
            return False
        yield self.dice.uniform(0.05, 0.3)
        return relay.takes_connection()

    # -- results

    def use(self) -> float:
        """What part of the allowance was used, in the minutes in which the relays were there."""
        possible = taken = 0.0
        for relay in self.relays:
            away = self.world.outage[1] - self.world.outage[0] if relay.out else 0.0
            span = (
                self.world.seconds - 2 * RATE.seconds - max(0.0, min(away, self.world.seconds - self.world.outage[0]))
            )
            possible += span * RATE.limit / RATE.seconds
            taken += sum(when >= 2 * RATE.seconds for when in relay.accepted)
        return taken / possible

    def violations(self) -> int:
        """What the relays had to refuse."""
        return sum(relay.too_many_connections + relay.too_many_messages for relay in self.relays)

    def wait_99(self, lane: Lane) -> float:
        """The 99th percentile of the waits of a lane."""
        return statistics.quantiles(self.waits[lane], n=100)[98]


def draw(governed: Simulation, naive: Simulation, folder: Path) -> None:
    """The picture: what is accepted per minute, what is refused, and who waits how long."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 10, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
    minutes = int(governed.world.seconds / 60)
    for run, label, colour in ((governed, "governed", "#0b6e4f"), (naive, "each for itself", "#9aa5b1")):
        counts = [0] * minutes
        for relay in run.relays:
            for when in relay.accepted:
                counts[int(when / 60)] += 1
        left.plot(range(minutes), counts, color=colour, label=f"{label}: {run.violations():,} refusals")
    left.axhline(RATE.limit * len(governed.relays), color="black", linewidth=0.8, linestyle=":")
    left.set(xlabel="minute (one relay in ten is out from 10 to 20)", ylabel="accepted per minute", ylim=(0, None))
    left.legend(frameon=False, loc="lower right")
    for lane, colour in zip(Lane, ("#c0392b", "#0b6e4f", "#9aa5b1"), strict=True):
        waits = sorted(governed.waits[lane])
        right.plot(waits, [number / len(waits) for number in range(len(waits))], color=colour, label=lane.name.lower())
    right.set(xlabel="seconds until accepted (log scale)", ylabel="part of the mails", xscale="log", xlim=(0.1, None))
    right.legend(frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(folder / "governor-simulation.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Run both worlds, print the figures, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    arguments = parser.parse_args()
    governed, naive = Simulation(World()).run(), Simulation(World(governed=False)).run()
    for name, run in (("governed", governed), ("each for itself", naive)):
        tried = sum(relay.tried_while_out for relay in run.relays)
        waits = ", ".join(f"{lane.name.lower()} {run.wait_99(lane):.0f} s" for lane in Lane)
        print(f"{name}: {run.use():.1%} of the allowance, {run.violations():,} refusals")
        print(f"  attempts at relays that were out: {tried:,}")
        print(f"  99th percentile of the wait: {waits}")
    draw(governed, naive, arguments.out)


if __name__ == "__main__":
    main()

"""Cells and how one is measured: peers in turn, round by round, medians and spread."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers import Peer
    from benchmarks.processes import Target


@dataclass(frozen=True)
class Cell:
    """One situation: a server, a round trip (ms), a channel, a message size (octets)."""

    server: str
    rtt: float
    secure: bool
    octets: int
    name: str = ""

    @property
    def title(self) -> str:
        """For tables and pictures."""
        channel = "STARTTLS+AUTH" if self.secure else "plain"
        return self.name or f"{self.server}, RTT {self.rtt:g} ms, {channel}, {size_word(self.octets)}"


def size_word(octets: int) -> str:
    """``1.2 KB`` and the like."""
    return f"{octets / 1_000_000:.0f} MB" if octets >= 1_000_000 else f"{octets / 1000:.1f} KB"


@dataclass
class Figure:
    """What one peer did in one cell. Rates are mails per second; ``cpu`` is microseconds of this process per mail."""

    peer: str
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    mails_per_round: int = 0

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rates)

    def as_row(self, cell: Cell) -> dict[str, object]:
        """For the JSON file."""
        return {
            "cell": asdict(cell) | {"title": cell.title},
            "peer": self.peer,
            "mails_per_second": self.rate,
            "spread": [min(self.rates), max(self.rates)],
            "round_trips_per_mail": 1000 / (self.rate * cell.rtt) if cell.rtt else None,
            "cpu_us_per_mail": statistics.median(self.cpu),
            "mails_per_round": self.mails_per_round,
            "rounds": len(self.rates),
        }


def message_of(octets: int) -> bytes:
    """A plain message of about that size, CRLF line ends."""
    head = b"From: shop@example.org\r\nTo: ann@example.org\r\nSubject: Your order\r\n"
    head += b"Message-ID: <bench@example.org>\r\n\r\n"
    line = b"Thank you for your order, it is on its way to you; have fun.\r\n"
    return head + line * max(1, (octets - len(head)) // len(line))


def measure(
    cell: Cell, target: Target, peers: Sequence[type[Peer]], *, rounds: int, seconds: float
) -> dict[str, Figure]:
    """Every peer ``rounds`` times, interleaved; each turn lasts about ``seconds`` (and at least two mails)."""
    message = message_of(cell.octets)
    running = {kind: kind(target, message) for kind in peers}
    figures = {kind.__name__: Figure(kind.__name__) for kind in peers}
    try:
        counts = {kind: _calibrated(peer, seconds * peer.patience) for kind, peer in running.items()}
        for _ in range(rounds):
            for kind, peer in running.items():
                figure, count = figures[kind.__name__], counts[kind]
                if peer.keeps_sessions:
                    peer.run(_first(peer))  # while the others had their turns, these have been idle
                cpu = time.process_time()
                figure.rates.append(count / peer.run(count))
                figure.cpu.append((time.process_time() - cpu) / count * 1e6)
                figure.mails_per_round = count
    finally:
        for peer in running.values():
            peer.close()
    return figures


def _calibrated(peer: Peer, seconds: float) -> int:
    """How many mails the peer hands over in that time, found by a first, uncounted turn."""
    first = _first(peer)
    taken = peer.run(first)
    return max(2 * _parallel(peer), min(20_000, int(first * seconds / max(taken, 1e-4))))


def _first(peer: Peer) -> int:
    """How many mails it takes to have every session of a peer at work."""
    return 2 * _parallel(peer) * max(1, getattr(peer, "sessions", 1))


def _parallel(peer: Peer) -> int:
    return max(getattr(peer, name, 1) for name in ("connections", "threads", "window", "sessions"))

"""Which peers meet in which cell, and what is claimed of the result."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import peers
from benchmarks.measure import Cell

SMALL, PAGE, LARGE = 1_200, 17_000, 1_000_000

ONE_SESSION = [
    peers.Ours,
    peers.OursDjango,
    peers.OursBulk,
    peers.StockDjango,
    peers.StockDjangoOpen,
    peers.WarmSmtplib,
    peers.Aiosmtplib,
    peers.Nodemailer,
    peers.SmtpSource,
]
MANY_SESSIONS = [
    peers.OursThreads,
    peers.OursBulk8,
    peers.Aiosmtplib8,
    peers.Aiosmtplib32,
    peers.Nodemailer8,
    peers.SmtpSource8,
]
SIZES = [peers.Ours, peers.OursBulk, peers.StockDjangoOpen, peers.WarmSmtplib, peers.Aiosmtplib]

FULL: list[tuple[Cell, list[type[peers.Peer]]]] = [
    (Cell("sink", 0, secure=False, octets=SMALL), ONE_SESSION + MANY_SESSIONS),
    (Cell("sink", 20, secure=False, octets=SMALL), ONE_SESSION),
    (Cell("sink", 50, secure=False, octets=SMALL), ONE_SESSION + MANY_SESSIONS),
    (Cell("sink", 100, secure=False, octets=SMALL), ONE_SESSION),
    (Cell("sink", 0, secure=True, octets=SMALL), ONE_SESSION),
    (Cell("sink", 50, secure=True, octets=SMALL), ONE_SESSION),
    (Cell("smtp-sink", 50, secure=False, octets=SMALL), ONE_SESSION),
    (Cell("postfix", 0, secure=False, octets=SMALL), ONE_SESSION + MANY_SESSIONS),
    (Cell("postfix", 50, secure=False, octets=SMALL), ONE_SESSION),
    (Cell("sink", 20, secure=False, octets=PAGE), SIZES),
    (Cell("sink", 20, secure=False, octets=LARGE), SIZES),
]
QUICK = [
    (Cell("sink", 50, secure=False, octets=SMALL), ONE_SESSION),
    (Cell("sink", 50, secure=True, octets=SMALL), ONE_SESSION),
    (Cell("sink", 0, secure=True, octets=SMALL), [peers.Ours, peers.OursDjango, peers.StockDjango]),
    (Cell("smtp-sink", 50, secure=False, octets=SMALL), [peers.Ours, peers.StockDjango, peers.WarmSmtplib]),
]


@dataclass(frozen=True)
class Claim:
    """A promise about two peers in one cell: ours at least ``factor`` times the other's mails per second."""

    ours: str
    other: str
    server: str
    rtt: float
    secure: bool
    factor: float


CLAIMS = [
    Claim("Ours", "StockDjango", "sink", 50, True, 11),
    Claim("Ours", "StockDjango", "sink", 50, False, 7),
    Claim("Ours", "Aiosmtplib", "sink", 50, False, 3.5),
    Claim("Ours", "SmtpSource", "sink", 50, False, 3.5),
    Claim("Ours", "Nodemailer", "sink", 50, False, 1.9),
    Claim("OursBulk", "StockDjango", "sink", 50, False, 40),
    Claim("OursBulk", "Nodemailer", "sink", 50, False, 12),
    Claim("OursDjango", "StockDjango", "sink", 0, True, 15),
]

ROUND_TRIPS = [("Ours", "sink", 50.0, 1.1), ("Ours", "smtp-sink", 50.0, 2.2)]
"""Peer, server, round trip (ms): at most so many round trips per mail on a warm session."""
COLD_ROUND_TRIPS = 8.5
SMALL_RENDERING, LARGE_RENDERING = 0.6, 0.7
"""Our CPU time as a share of Django 6.1's own."""
LINEAR_WITHIN = 0.15
"""Threads times sessions, up to 16, at a round trip of 50 ms."""

"""How cost grows: with threads, recipients, and memory; and what a cold hand-over costs in round trips."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import message_of
from benchmarks.peers import RECIPIENT, SENDER, Ours, StockDjango, in_threads
from robust_email.smtp import Envelope, MailData, SmtpConfig, Submission, SubmissionClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.processes import Target


def by_threads(target: Target, counts: list[int], mails_each: int, rounds: int) -> list[dict[str, float]]:
    """Mails per second of threads that share one client, ready octets; a session each, opened before."""
    peers = {count: Ours(target, message_of(1_200)) for count in counts}
    rates: dict[int, list[float]] = {count: [] for count in counts}
    try:
        for round_number in range(rounds + 1):
            for threads, peer in peers.items():
                began = time.perf_counter()
                in_threads(threads, threads * mails_each, peer.submit)
                if round_number > 0:  # the first opens the sessions
                    rates[threads].append(threads * mails_each / (time.perf_counter() - began))
    finally:
        for peer in peers.values():
            peer.close()
    one = statistics.median(rates[counts[0]]) / counts[0]
    return [
        {
            "threads": count,
            "mails_per_second": statistics.median(found),
            "of_linear": statistics.median(found) / (one * count),
        }
        for count, found in rates.items()
    ]


def by_recipients(target: Target, counts: list[int], rounds: int) -> list[dict[str, float]]:
    """Milliseconds per mail with so many recipients, one warm session."""
    client = SubmissionClient(SmtpConfig(host=target.host, port=target.port))
    data = MailData.from_bytes(message_of(1_200))
    envelopes = {count: Envelope.of(SENDER, [f"customer{n}@example.org" for n in range(count)]) for count in counts}
    found: dict[int, list[float]] = {count: [] for count in counts}
    client.submit(envelopes[counts[0]], data)
    for _ in range(rounds):
        for count, envelope in envelopes.items():
            began = time.perf_counter()
            assert client.submit(envelope, data).all_accepted
            found[count].append(1000 * (time.perf_counter() - began))
    client.close()
    return [{"recipients": count, "milliseconds": statistics.median(times)} for count, times in found.items()]


def cold(target: Target, rtt: float, rounds: int) -> dict[str, float]:
    """Round trips of the first mail: connect, STARTTLS, AUTH and hand over; medians, interleaved."""
    ours: list[float] = []
    stock: list[float] = []
    message = message_of(1_200)
    for round_number in range(rounds + 1):
        for kind, found in ((Ours, ours), (StockDjango, stock)):
            peer = kind(target, message)
            seconds = peer.run(1)
            peer.close()
            if round_number > 0:  # the first builds the shared TLS context, once per process
                found.append(1000 * seconds / rtt)
    return {"ours": statistics.median(ours), "stock_django": statistics.median(stock), "rtt": rtt}


def memory(port: int, mails: int) -> dict[str, float]:
    """Peak memory (MB) above the start of two jobs, each in a process of its own."""
    return {
        "25_mb_to_50_recipients": _peak(port, "attachment", 50),
        f"generator_of_{mails}": _peak(port, "generator", mails),
    }


def _peak(port: int, job: str, count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.growth", job, str(port), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    return float(json.loads(done.stdout)["peak_mb"])


def _resident() -> float:
    """The peak so far, in MB (Linux counts KB)."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _job(name: str, port: int, count: int) -> None:
    client = SubmissionClient(SmtpConfig(host="127.0.0.1", port=port))
    small = MailData.from_bytes(message_of(1_200))
    client.submit(Envelope.of(SENDER, [RECIPIENT]), small)
    if name == "attachment":
        octets = message_of(34_000_000)  # 25 MB as base64
        before = _resident()
        data = MailData.from_bytes(octets)
        assert client.submit(Envelope.of(SENDER, [f"customer{n}@example.org" for n in range(count)]), data).all_accepted
    else:
        before = _resident()

        def mails() -> Iterator[Submission]:
            for number in range(count):
                octets = message_of(1_200).replace(b"<bench@", b"<bench-%d@" % number)
                yield Submission(Envelope.of(SENDER, [RECIPIENT]), MailData.from_bytes(octets))

        for _, report in client.submit_many(mails(), window=8):
            assert report.all_accepted
    print(json.dumps({"peak_mb": _resident() - before}))


if __name__ == "__main__":
    _job(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""From ``send_mail()`` to the relay's 250, by each outbox of the field: throughput, latency, and what it costs.

Same PostgreSQL cluster (thrown away afterwards), same Redis, same sink, in turn, round by round. Throughput: so many
mails are written one by one, each committed, then drained by the outbox's own command, its sessions opened anew.
Latency: one mail at a time, with a Celery worker waiting; the sink says when the last one came.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

from benchmarks.processes import delayed, redis, sink

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
WORKERS = 5
"""Processes of a Celery worker; as many as a drain has threads."""
PATIENCE = 120.0


@dataclass(frozen=True)
class Contender:
    """An outbox as it is used in one row of the table; ``mails`` of a round by round trip (ms), some seconds each."""

    title: str
    outbox: str
    mails: dict[int, int]
    at_once: int = 1
    more: dict[str, Any] = field(default_factory=dict)


CONTENDERS = [
    Contender("ours", "ours", {0: 500, 50: 500}),
    Contender("ours, 100 by one call", "ours", {0: 2_000, 50: 2_000}, at_once=100),
    Contender("ours, 100 by one call, window 32", "ours", {0: 2_000, 50: 2_000}, at_once=100, more={"window": 32}),
    Contender("django-post_office", "post_office", {0: 500, 50: 100}),
    Contender("django-post_office, 100 by one call", "post_office", {0: 500, 50: 100}, at_once=100),
    Contender(
        "django-post_office, 100 by its send_many()",
        "post_office",
        {0: 500, 50: 100},
        at_once=100,
        more={"call": "send_many"},
    ),
    Contender("django-mailer", "mailer", {0: 200, 50: 8}),
    Contender("django-mailer, 100 by one call", "mailer", {0: 200, 50: 8}, at_once=100),
    Contender("django-celery-email", "celery_email", {0: 500, 50: 60}),
]


@dataclass
class Outbox:
    """A project with one outbox, in a process of its own; ``tell`` has it do a job."""

    name: str
    database: str
    port: int
    folder: Path
    more: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        given = {"outbox": self.name, "database": self.database, "port": self.port, "folder": str(self.folder)}
        self.environment = {**os.environ, "OUTBOX_BENCH": json.dumps(given | self.more)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.outbox_peers"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()
        return self

    def tell(self, job: str, *arguments: Any) -> dict[str, Any]:
        """Have a job of ``outbox_peers.JOBS`` done, and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([job, *arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found = json.loads(self.process.stdout.readline())
        assert isinstance(found, dict)
        return found

    @contextlib.contextmanager
    def worker(self) -> Iterator[None]:
        """Run its Celery worker until the block is left."""
        command = ["celery", "-A", "benchmarks.outbox_project", "worker", "-l", "INFO", "-c", str(WORKERS)]
        log = self.folder / f"{self.name}.worker"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _until(lambda: " ready." in log.read_text(), f"{self.name}'s worker")
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the session is the worker's alone
            process.wait()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


class Ledger:
    """What the sink says of the mails it took."""

    def __init__(self, port: int) -> None:
        self._smtp = smtplib.SMTP("127.0.0.1", port)

    def read(self) -> tuple[int, float]:
        """Return how many, and when the last one came, by the monotonic clock."""
        _, text = self._smtp.docmd("VRFY", "all")
        count, last_at = text.split()
        return int(count), float(last_at)

    def wait_for(self, count: int) -> float:
        """Wait until that many are there; returns when the last one came."""
        _until(lambda: self.read()[0] >= count, f"{count} mails", pause=0.002)
        found, last_at = self.read()
        assert found == count, f"{found} mails instead of {count}"
        return last_at


def _until(condition: Any, what: str, *, pause: float = 0.02) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {PATIENCE:.0f} s")
        time.sleep(pause)


def measure(*, quick: bool) -> dict[str, Any] | None:
    """Everything, as plain data; ``None`` where PostgreSQL or Redis cannot be started. ``quick``: RTT 50 only."""
    from benchmarks import outbox_growth
    from tests.clusters import cluster

    with (
        tempfile.TemporaryDirectory() as name,
        cluster() as server,
        cluster("fsync = off", "max_wal_size = 8GB") as growing,
        redis(Path(name)) as broker,
    ):
        if server is None or growing is None or broker is None:
            print("outboxes: PostgreSQL or Redis is not installed here, left out", file=sys.stderr)
            return None
        bench = _Bench(server.url, broker, Path(name))
        result: dict[str, Any] = {"throughput": [], "latency": []}
        for rtt in (50,) if quick else (0, 50):
            result["throughput"] += bench.throughput(rtt, rounds=1 if quick else 2, share=0.3 if quick else 1.0)
            result["latency"] += [] if quick else bench.latency(rtt, mails=9)
        result |= outbox_growth.measure(_Bench(growing.url, broker, Path(name)).database, Path(name), quick=quick)
        return result


class _Bench:
    """The servers, and what is measured with them."""

    def __init__(self, url: str, broker: str, folder: Path) -> None:
        self._url = url
        self._broker = broker
        self._folder = folder
        self._made = 0

    def database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self._url, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload, unused-ignore]  # our own name
        return self._url.removesuffix("postgres") + name

    @contextlib.contextmanager
    def _project(self, contender: Contender, proxy: int, **more: Any) -> Iterator[Outbox]:
        self._made += 1
        database = self.database(f"outbox_{self._made}")
        given = {**contender.more, **more, "broker": self._broker}
        folder = self._folder / str(self._made)
        folder.mkdir()
        with Outbox(contender.outbox, database, proxy, folder, given) as outbox:
            yield outbox

    def throughput(self, rtt: int, rounds: int, share: float) -> list[dict[str, Any]]:
        """Mails per second from the first ``send()`` to the last 250, in turn; ``share`` of the mails of a round."""
        found: dict[str, list[dict[str, float]]] = {}
        with sink() as port, delayed(port, rtt) as proxy, contextlib.ExitStack() as stack:
            ledger = Ledger(port)
            contenders = [each for each in CONTENDERS if each.mails[rtt] >= each.at_once]
            projects = [(each, stack.enter_context(self._project(each, proxy))) for each in contenders]
            for _, outbox in projects:
                if outbox.name == "celery_email":
                    stack.enter_context(outbox.worker())
            for number in range(rounds + 1):
                for contender, outbox in projects:
                    batches = max(1, round((share if number else 0.05) * contender.mails[rtt] / contender.at_once))
                    count = batches * contender.at_once
                    one = self._round(outbox, ledger, count, contender.at_once)
                    if number:  # the first warms caches
                        found.setdefault(contender.title, []).append(one)
        return [{"contender": title, "rtt": rtt, **_medians(each)} for title, each in found.items()]

    def _round(self, outbox: Outbox, ledger: Ledger, count: int, at_once: int) -> dict[str, float]:
        before, _ = ledger.read()
        position = self._written()
        enqueued = outbox.tell("enqueue", count, at_once)
        drained = outbox.tell("drain")
        seconds = ledger.wait_for(before + count) - enqueued["began"]
        return {
            "mails_per_second": count / seconds,
            "enqueued_per_second": count / enqueued["seconds"],
            "drained_per_second": count / max(seconds - enqueued["seconds"], 1e-3),
            "statements_to_enqueue": enqueued["statements"] / count,
            "statements_to_drain": drained["statements"] / count,
            "octets_written": (self._written() - position) / count,
        }

    def _written(self) -> int:
        with psycopg.connect(self._url) as admin:
            row = admin.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')").fetchone()
        assert row is not None
        return int(row[0])

    def latency(self, rtt: int, mails: int) -> list[dict[str, Any]]:
        """Milliseconds from ``send()`` to the 250 of a single mail, a Celery worker waiting."""
        found = []
        with sink() as port, delayed(port, rtt) as proxy:
            ledger = Ledger(port)
            for contender in CONTENDERS:
                if contender.more or contender.at_once > 1 or contender.outbox == "mailer":  # which has no wake-up
                    continue
                # One worker at a time, so that the others do not take its processor.
                with self._project(contender, proxy, wakeup="celery") as outbox, outbox.worker():
                    times = [self._one(outbox, ledger) for _ in range(mails + 2 * WORKERS)][2 * WORKERS :]
                found.append({"contender": contender.title, "rtt": rtt, "milliseconds": statistics.median(times)})
        return found

    @staticmethod
    def _one(outbox: Outbox, ledger: Ledger) -> float:
        before, _ = ledger.read()
        began = outbox.tell("enqueue", 1)["began"]
        return 1000 * float(ledger.wait_for(before + 1) - began)


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}

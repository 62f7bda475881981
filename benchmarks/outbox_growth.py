"""How our outbox's cost grows: a claim with the mails that wait and have ended, a drain's memory, an outage's backlog.

``measure`` is the harness's side; the other functions are jobs inside the project's process (``outbox_peers.JOBS``).
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.outbox import Outbox as OutboxProcess
    from robust_email.outbox.dispatch import Tally

FEW, MANY, ALL = 1_000, 100_000, 1_000_000
ENDED = 5_000_000
DRAINED = 50_000
"""Mails of the drain whose memory is watched."""
CLAIMS, ROUNDS = 10, 5
"""Claims in a turn, and turns; the medians of their medians."""
BATCH = 100
AT_ONCE = 500_000


def measure(make_database: Callable[[str], str], folder: Path, *, quick: bool) -> dict[str, Any]:
    """All of it, as plain data; ``quick`` leaves out the millions."""
    from benchmarks.outbox import Outbox
    from benchmarks.processes import sink

    claims = _claims(make_database, folder, quick=quick)
    with sink() as port, Outbox("ours", make_database("memory"), port, folder) as outbox:
        outbox.tell("fill", 3_000 if quick else DRAINED, 0)
        memory = outbox.tell("drain_watched")
    return {"claims": claims, "memory": memory, "outage": _outage(make_database, folder, 2_000 if quick else 10_000)}


def _claims(make_database: Callable[[str], str], folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Claims in turn, each where so many mails wait; at last where millions have ended besides."""
    from benchmarks.outbox import Outbox

    with contextlib.ExitStack() as stack:
        outboxes: dict[tuple[int, int], OutboxProcess] = {}
        for waiting in (FEW, MANY) if quick else (FEW, MANY, ALL):
            made = stack.enter_context(Outbox("ours", make_database(f"claims_{waiting}"), 1, folder))
            made.tell("fill", waiting, 0)
            outboxes[waiting, 0] = made
        found = _in_turn(outboxes)
        if not quick:
            outboxes[ALL, 0].tell("fill", 0, ENDED)
            found += _in_turn({(FEW, 0): outboxes[FEW, 0], (ALL, ENDED): outboxes[ALL, 0]})
        return found


def _in_turn(outboxes: dict[tuple[int, int], OutboxProcess]) -> list[dict[str, Any]]:
    """Milliseconds, and how many times those of the first."""
    times: dict[tuple[int, int], list[float]] = {place: [] for place in outboxes}
    for _ in range(ROUNDS):
        for place, outbox in outboxes.items():
            times[place].append(outbox.tell("claim_time")["milliseconds"])
    first = statistics.median(next(iter(times.values())))
    return [
        {
            "waiting": waiting,
            "ended": ended,
            "milliseconds": statistics.median(each),
            "growth": statistics.median(each) / first,
        }
        for (waiting, ended), each in times.items()
    ]


def _outage(make_database: Callable[[str], str], folder: Path, mails: int) -> dict[str, Any]:
    """Seconds from the return of a relay that was away to the last of the mails that had waited for it."""
    from benchmarks.outbox import Ledger, Outbox
    from benchmarks.processes import free_port, sink

    port = free_port()
    with Outbox("ours", make_database("outage"), port, folder, {"schedule": [1, 1, 1, 1, 1]}) as outbox:
        outbox.tell("fill", mails, 0)
        outbox.tell("drain")  # finds that nobody is there
        outbox.tell("serve")
        with sink("--port", str(port)):
            back = time.monotonic()
            return {"mails": mails, "seconds": Ledger(port).wait_for(mails) - back}


# -- inside the project


def fill(waiting: int, ended: int) -> dict[str, Any]:
    """Copy a row that the outbox itself wrote, so many times waiting and so many times accepted."""
    from django.core.mail import EmailMessage
    from django.db import connection, transaction

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM robust_email_outbox_outboxmessage")
        first = int(cursor.fetchone()[0])
    with transaction.atomic():
        EmailMessage("Your order", "Thank you for your order.\n" * 40, None, ["ann@example.org"]).send()
        _copy(first, waiting - 1)
        _copy(first + waiting, ended, state="'accepted'", next_attempt_at="NULL", finished_at="now()", content="NULL")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as the database does by itself, a minute later
    return {}


def _copy(first: int, count: int, **changed: str) -> None:
    from django.db import connection

    from robust_email.outbox.models import OutboxMessage, OutboxRecipient

    number = f"{first} + n"
    changed["id"] = f"lpad(to_hex({number}), 32, '0')::uuid"
    changed["message_id"] = f"({number}) || '@example.org'"
    recipients = {"message_id": changed["id"]}
    newest = "(SELECT * FROM {} ORDER BY {} DESC LIMIT 1) AS one"
    with connection.cursor() as cursor:
        for begin in range(0, count, AT_ONCE):
            numbers = f"generate_series({begin + 1}, {min(begin + AT_ONCE, count)}) AS n"
            _insert_select(cursor, OutboxMessage, newest.format("{}", "created_at"), numbers, changed)
            if "state" not in changed:
                _insert_select(cursor, OutboxRecipient, newest.format("{}", "id"), numbers, recipients)


def _insert_select(cursor: Any, model: Any, source: str, numbers: str, changed: dict[str, str]) -> None:
    meta = model._meta  # noqa: SLF001 - Django's documented name for it
    table = meta.db_table
    columns = [field.column for field in meta.fields if not (field.primary_key and field.column not in changed)]
    values = ", ".join(changed.get(column, f"one.{column}") for column in columns)
    cursor.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {source.format(table)}, {numbers}")  # noqa: S608 - our own names


def claim_time() -> dict[str, Any]:
    """The median of claims of a hundred mails, each given back."""
    from robust_email.outbox.services import claims

    times = []
    for _ in range(CLAIMS):
        began = time.perf_counter()
        claim = claims.claim(BATCH)
        times.append(1000 * (time.perf_counter() - began))
        assert len(claim.rows) == BATCH
        claims.release(claim.token, [row.pk for row in claim.rows])
    return {"milliseconds": statistics.median(times)}


def drain_watched() -> dict[str, Any]:
    """Drain, and tell the peak of memory (MB) after a tenth of the mails and at the end."""
    from benchmarks.outbox_project import THREADS
    from robust_email.outbox.draining import Drain, Plan
    from robust_email.outbox.models import OutboxMessage

    mails, done, early = OutboxMessage.objects.count(), 0, 0.0

    def look(tally: Tally) -> None:
        nonlocal done, early
        done += tally.claimed
        if not early and done >= mails / 10:
            early = peak()

    began = time.monotonic()
    Drain(Plan(until_empty=True, concurrency=THREADS), on_batch=look).run()
    return {"mails": mails, "early_mb": early, "end_mb": peak(), "seconds": time.monotonic() - began}


def peak() -> float:
    """The most that this process ever had, in MB (Linux counts KB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve() -> dict[str, Any]:
    """Begin ``outbox_drain --forever`` in the background."""
    from benchmarks.outbox_project import THREADS
    from robust_email.outbox.draining import Drain, Plan

    threading.Thread(target=Drain(Plan(forever=True, concurrency=THREADS)).run, daemon=True).start()
    return {}

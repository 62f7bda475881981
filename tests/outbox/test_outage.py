"""Ten minutes without a relay while 5,000 mails wait: only probes connect, and on its return all go at once."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command

from robust_email.outbox.models import OutboxMessage, SubmissionAttempt
from robust_email.smtp.governor import BreakerPolicy
from robust_email.testing import At, Fault, Reply
from tests.outbox import databases
from tests.outbox.hurry import SEARCH_PATH, hurried_clock
from tests.outbox.processes import environment, worker
from tests.outbox.test_killed import enqueue, judge, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from robust_email.testing import ScriptedServer
    from tests.outbox.hurry import HurriedClock

PROCESSES, THREADS = 4, 2
MAILS = 5_000
OUTAGE = timedelta(minutes=10)
BATCH = 100
"""Mails that a drain has in hand when it first finds out; another, where the word came too late."""

BREAKER = BreakerPolicy()
"""The workers', since none of its settings is given to them."""


@pytest.mark.slow
@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_ten_minutes_without_a_relay(
    outbox_url: str, relay: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight drains in four processes, the shop's own settings, a real port that greets with 421 for ten minutes.

    What is not real is the ten minutes: they pass on the database's clock, by which all workers go. It is put forward
    a second at a time, and only while no mail is due and none in a worker's hands, so nothing that would happen in
    that second is left out. From the probe that finds the relay well, time is measured on the machine's own clock.
    """
    enqueue(MAILS)
    relay.add_fault(Fault(At.GREETING, Reply("421 4.3.2 down for maintenance")))
    alias = databases.ToActive.alias
    assert alias is not None
    with hurried_clock(alias) as clock, drains(outbox_url, alias, relay, tmp_path):
        relay.wait_for(lambda it: it.connections > 0, 30)
        pass_time(clock, clock.now() + OUTAGE)
        assert not relay.accepted
        connects, asked = relay.connections, SubmissionAttempt.objects.count()
        relay.clear_faults()
        probed = wait_for_probe(clock, relay)
        relay.wait_for(lambda it: len(it.accepted) > 0, 30)
        first = time.monotonic() - probed
        relay.wait_for(lambda it: len(it.accepted) >= MAILS, 90)
        last = time.monotonic() - probed
        until(lambda: not OutboxMessage.objects.filter(finished_at__isnull=True).exists())
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what the test is for
            f"\n10 minutes out, {MAILS} mails, {PROCESSES * THREADS} drains: {connects} connects of {most_connects()} "
            f"allowed, {asked} attempts held back; from the probe {first:.2f} s to the first mail, {last:.1f} s to all"
        )
    assert connects <= most_connects()
    assert asked <= PROCESSES * THREADS * (2 * BATCH + most_connects()), "then one mail of each drain asks for all"
    assert first <= 1.0
    assert last < 60 / 2, "a relay that is thought to be down is left alone for a minute: nobody may think so now"
    assert judge(relay, MAILS) == (0, 0)
    assert not OutboxMessage.objects.filter(retries__gt=0).exists()


@contextmanager
def drains(url: str, alias: str, relay: ScriptedServer, folder: Path) -> Iterator[None]:
    """Run the workers as a shop does; only what passes on their own clocks is shortened: a pause and the polling."""
    for app in ("robust_email_governor", "robust_email_suppression"):
        call_command("migrate", app, database=alias, verbosity=0)
    env = environment(
        url,
        relay,
        DATABASES={"default": {**databases.configuration(url), "OPTIONS": {"options": SEARCH_PATH}}},
        EMAIL_GOVERNOR="database",
        EMAIL_CONNECTION_RETRY_ATTEMPTS=3,
        EMAIL_CONNECTION_RETRY_DELAY=0.01,
        EMAIL_OUTBOX_RETRY_SCHEDULE=[60, 120, 240, 300, 300],
        EMAIL_OUTBOX_LEASE=120,
        EMAIL_OUTBOX_HEARTBEAT=30,
        EMAIL_OUTBOX_SWEEP=30,
        EMAIL_OUTBOX_POLL=0.05,
        EMAIL_OUTBOX_BATCH=BATCH,
    )
    with ExitStack() as stack:
        for number in range(PROCESSES):
            output = stack.enter_context((folder / f"worker-{number}").open("w"))
            stack.enter_context(worker(env, "never", "--forever", "--concurrency", str(THREADS), output=output))
        yield


def pass_time(clock: HurriedClock, end: datetime) -> None:
    """Let the workers' time pass, waiting whenever there is something to do in it."""
    while clock.now() < end:
        until(clock.is_quiet)
        clock.step()


def wait_for_probe(clock: HurriedClock, relay: ScriptedServer) -> float:
    """Let time pass until somebody connects; return when that was, in seconds of our clock."""
    before = relay.connections
    while relay.connections == before:
        if clock.is_quiet():
            clock.step()
    return time.monotonic()


def most_connects() -> int:
    """Count what the breaker's policy allows: what opens it, what was under way by then, and probes after pauses."""
    at, pause, probes = 0.0, BREAKER.cooldown, 0
    while (at := at + pause) <= OUTAGE.total_seconds():
        probes += 1
        pause = min(BREAKER.longest_cooldown, 2 * pause)
    return BREAKER.failures + PROCESSES * THREADS - 1 + probes

"""One child of a Celery worker killed while it holds mails, and the broker wiped under a worker's hands."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections, transaction

from robust_email.outbox.database import database
from robust_email.outbox.models import OutboxMessage
from robust_email.testing import At, Fault, Reply, ScriptedServer, Stall, TakeThenStall
from tests.outbox.celery_processes import (
    celery_beat,
    celery_worker,
    children,
    executing,
    is_idle,
    queued_tasks,
    reserved,
    wipe,
)
from tests.outbox.test_celery import all_ended
from tests.outbox.test_killed import WINDOW, enqueue, judge, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from celery import Celery

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)]

STEPS: dict[str, tuple[Fault, Callable[[ScriptedServer], bool], str]] = {
    "session": (Fault(At.EHLO, Stall(), times=1), lambda it: it.commands["EHLO"] > 0, "claimed"),
    "body": (Fault(At.BODY, Stall(), times=1), lambda it: it.commands["BDAT"] > 0, "data-started"),
    "final": (Fault(At.FINAL, TakeThenStall(), times=1), lambda it: len(it.accepted) > 0, "data-started"),
}
"""Where the relay falls silent, how one sees that somebody waits for it, and the state of a mail that he holds."""


@pytest.mark.parametrize("count", [12, 40], ids=["mail by mail", "in batches"])
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_child_is_replaced_and_its_mails_end(
    *,
    outbox_url: str,
    relay: ScriptedServer,
    broker: Celery,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    step: str,
    count: int,
) -> None:
    """One child killed with mails at the relay: all accepted, and only the one that it had taken, twice."""
    kill_a_child(url=outbox_url, relay=relay, broker=broker, folder=tmp_path, step=step, count=count)
    doubts, doubles = judge(relay, count)
    with capsys.disabled():
        print(f"\n{count} mails, a child killed at {step}: {doubts} in doubt, {doubles} doubled, 0 lost, 0 stuck")  # noqa: T201 - the figure is what the test is for
    assert doubts in (range(1) if step == "session" else range(1, WINDOW + 1))
    assert doubles == (1 if step == "final" else 0)


@pytest.mark.parametrize(("step", "count"), [("body", 12), ("final", 40)])
def test_a_killed_child_doubles_nothing_that_is_held(
    *, outbox_url: str, relay: ScriptedServer, broker: Celery, tmp_path: Path, step: str, count: int
) -> None:
    """With ``hold`` what the child had begun waits for a person, and the relay takes each mail once at most."""
    kill_a_child(url=outbox_url, relay=relay, broker=broker, folder=tmp_path, step=step, count=count, in_doubt="hold")
    held = set(OutboxMessage.objects.filter(state="in-doubt", doubts=1).values_list("message_id", flat=True))
    rest = set(OutboxMessage.objects.filter(state="accepted", doubts=0).values_list("message_id", flat=True))
    assert 1 <= len(held) <= WINDOW
    assert len(held) + len(rest) == count
    times = Counter(message.message_id for message in relay.accepted)
    assert set(times.values()) == {1}
    assert rest <= set(times)
    assert len(set(times) & held) == (1 if step == "final" else 0)


def kill_a_child(
    *, url: str, relay: ScriptedServer, broker: Celery, folder: Path, step: str, count: int, **options: str
) -> None:
    """Kill one of two children when all that is left is what it holds; its main process has to bring all to an end."""
    fault, has_struck, state = STEPS[step]
    relay.add_fault(fault)
    with celery_worker(broker, url, relay, folder, "-B", "-c", "2") as process:
        enqueue(count, **options)
        relay.wait_for(has_struck, 30)
        until(lambda: only_holder(state) is not None, process)
        before, victim = set(children(broker, process)), only_holder(state)
        assert victim in before
        os.kill(victim, signal.SIGKILL)
        until(all_ended, process)
        until(lambda: is_idle(broker, process), process)  # the task that comes back must do no harm
        after = set(children(broker, process))
        assert len(after) == 2
        assert after & before == before - {victim}


def only_holder(state: str) -> int | None:
    """Return the process that holds all mails that have not ended, one at least in this state; None if none does."""
    left = OutboxMessage.objects.filter(finished_at__isnull=True).values_list("lease_owner", "state")
    owners, states = {owner for owner, _ in left}, {each for _, each in left}
    if len(owners) != 1 or state not in states or "queued" in states:
        return None
    return int(owners.pop().split("/")[1])


def test_the_task_of_a_child_that_died_before_its_claim_comes_back(
    outbox_url: str, relay: ScriptedServer, broker: Celery, tmp_path: Path
) -> None:
    """A child killed before it writes anything down: its task comes back. There is no beat that would find the mail."""
    enqueue(1)
    with ExitStack() as lock, celery_worker(broker, outbox_url, relay, tmp_path, "-c", "1") as process:
        lock.enter_context(transaction.atomic(using=database()))
        table = OutboxMessage._meta.db_table
        query(f"LOCK TABLE {table}")
        until(lambda: bool(query(WHO_WAITS, table) and executing(broker, process)), process)
        [(task, victim)] = executing(broker, process).items()
        os.kill(victim, signal.SIGKILL)
        # The server would notice only when the lock is given, and hold the row for a moment that nobody knows.
        [(its_session,)] = query(WHO_WAITS, table)
        query("SELECT pg_terminate_backend(%s, 5000)", its_session)
        until(lambda: executing(broker, process).get(task, victim) != victim, process)
        lock.close()
        until(all_ended, process)
    assert judge(relay, 1) == (0, 0)


WHO_WAITS = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND relation = %s::regclass AND NOT granted
"""
"""For a table. The server is shared: in other databases others wait for theirs."""


def query(sql: str, *values: str | int) -> list[tuple[Any, ...]]:
    """Run a statement on the test's own connection to the outbox's database."""
    with connections[database()].cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


POOLS: dict[str, dict[str, bool]] = {
    "prefork": {},
    "threads": {"worker_enable_prefetch_count_reduction": False},
    "gevent": {},
}
"""Celery's settings for each. After a lost connection its threads would read RabbitMQ's replies beside the main one."""


@pytest.mark.parametrize("pool", POOLS)
def test_a_broker_wiped_under_a_worker_costs_no_mail(
    *,
    outbox_url: str,
    relay: ScriptedServer,
    broker: Celery,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pool: str,
) -> None:
    """With every task gone, those too that a worker has, the sweep finds the mails: each is accepted once."""
    relay.add_fault(Fault(At.FINAL, Reply(delay=0.2)))
    for _ in range(4):
        enqueue(20)  # so few at a time that each has a task
    arguments = ("-P", pool, "-c", "4", "--prefetch-multiplier", "4")
    with (
        celery_worker(broker, outbox_url, relay, tmp_path, *arguments, **POOLS[pool]) as process,
        celery_beat(broker, outbox_url, relay, tmp_path),
    ):
        relay.wait_for(lambda it: len(it.accepted) >= 10, 30)
        waiting, begun, queued = reserved(broker, process), executing(broker, process), queued_tasks(broker)
        wipe(broker)
        accepted = len(relay.accepted)
        relay.clear_faults()
        enqueue(10)  # by a process that knows nothing of it
        until(all_ended, process)
    doubts, doubles = judge(relay, 90)
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what the test is for
            f"\n{pool}: wiped with {accepted} of 90 mails accepted, {len(begun)} tasks begun, {len(waiting)} reserved, "
            f"{queued} queued: {doubts} in doubt, {doubles} doubled, 0 lost, 0 stuck"
        )
    assert begun
    assert waiting or pool == "gevent"  # which has the worker read no further than it can begin
    assert queued
    assert (doubts, doubles) == (0, 0)

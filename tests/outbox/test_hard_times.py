"""The database is restarted under the workers, and one worker of eight after the other is killed: the ledger judges."""

from __future__ import annotations

import random
import signal
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from robust_email.outbox.models import OutboxMessage
from tests.clusters import cluster
from tests.outbox import databases
from tests.outbox.processes import environment, finish, worker
from tests.outbox.test_killed import WINDOW, enqueue, judge, until
from tests.services import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from pytest_django import DjangoDbBlocker, Settings

    from robust_email.testing import ScriptedServer
    from tests.clusters import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture
def own_cluster(django_db_blocker: DjangoDbBlocker, settings: Settings) -> Iterator[Cluster]:
    """Route the outbox to a PostgreSQL cluster that nobody else uses."""
    alias = "outbox_restarted"
    with cluster() as made, django_db_blocker.unblock():
        if made is None:
            unavailable("PostgreSQL", "no initdb")
        databases.ToActive.alias = databases.make_database(alias, made.url)
        settings.DATABASE_ROUTERS = ["tests.outbox.databases.ToActive"]
        yield made
        databases.ToActive.alias = None
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


@pytest.fixture
def outbox_url(own_cluster: Cluster) -> str:
    """Give the cluster's URL, in the place of the shared server's."""
    return own_cluster.url


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_the_database_is_restarted(own_cluster: Cluster, outbox_url: str, relay: ScriptedServer, mode: str) -> None:
    """Restarted twice in the middle of a batch, as by a power cut or in order: each mail once, none in doubt."""
    count = 300
    enqueue(count)
    with worker(environment(outbox_url, relay, EMAIL_OUTBOX_LEASE=60), "never", "--forever") as process:
        for number in (1, 2):
            relay.wait_for(lambda it, wanted=number * count // 3: len(it.accepted) >= wanted, 60)  # type: ignore[misc]  # its default is the loop's
            own_cluster.stop(mode)
            own_cluster.start()
        for connection in connections.all(initialized_only=True):
            connection.close()
        until(all_ended, process, 90)
        process.terminate()
        output = finish(process)
    assert process.returncode == 0, output
    assert judge(relay, count) == (0, 0), output


def test_eight_workers_of_which_eight_are_killed(
    outbox_url: str, relay: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight workers, eight SIGKILLs over 500 mails, a new worker for each: lost 0, stuck 0, a window in doubt each."""
    kills, count = 8, 500
    enqueue(count)
    env = environment(outbox_url, relay)
    dice = random.Random(20_261_124)  # noqa: S311 - whom to kill, the same in every run
    with ExitStack() as stack:

        def start() -> Popen[Any]:
            return stack.enter_context(worker(env, "never", "--forever", "--batch", "10"))

        workers = deque(start() for _ in range(8))
        for number in range(1, kills + 1):
            wanted = number * count // (kills + 1)
            relay.wait_for(lambda it, wanted=wanted: len(it.accepted) >= wanted, 90)  # type: ignore[misc]  # its default is the loop's
            workers.rotate(dice.randrange(8))
            workers[0].kill()
            workers[0].wait()
            workers[0] = start()
        until(all_ended, timeout=90)
        for process in workers:
            process.terminate()
        outputs = [finish(process) for process in workers]
    # One that has only just begun has no handler for SIGTERM yet.
    assert {process.returncode for process in workers} <= {0, -signal.SIGTERM}, outputs
    doubts, doubles = judge(relay, count)
    with capsys.disabled():
        print(f"\n{kills} of 8 workers killed, {count} mails: {doubts} in doubt, {doubles} doubled, 0 lost, 0 stuck")  # noqa: T201 - the figure is what the test is for
    assert doubts <= kills * WINDOW
    assert doubles <= doubts


def all_ended() -> bool:
    """Tell whether no mail waits."""
    return not OutboxMessage.objects.filter(finished_at__isnull=True).exists()

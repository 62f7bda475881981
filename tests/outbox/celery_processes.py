"""Real Celery workers and beats in processes of their own, and what their broker and their pools know of tasks."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from amqp.exceptions import ChannelError
from celery import Celery
from redis import Redis

from robust_email.outbox.tasks import DELIVER, DRAIN
from tests.outbox.processes import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from robust_email.testing import ScriptedServer

Process = subprocess.Popen[bytes]


def application(url: str) -> Celery:
    """Make the application that all threads of this process find, as Celery does for the first of a Django project."""
    app = Celery("outbox-tests", broker=url)
    app.set_default()
    return app


@contextmanager
def celery_worker(
    app: Celery, url: str, relay: ScriptedServer, folder: Path, *arguments: str, **settings: bool
) -> Iterator[Process]:
    """Run a worker with Celery's settings; it and its children are killed when the block is left."""
    name = f"{secrets.token_hex(4)}@worker"  # RabbitMQ is shared, and lets a name be used once
    command = ("worker", "-l", "INFO", "-n", name, *arguments)
    with _celery(app, environment(url, relay), folder, *command, **settings) as process:
        yield process


@contextmanager
def celery_beat(app: Celery, url: str, relay: ScriptedServer, folder: Path) -> Iterator[Process]:
    """Run a beat of its own, as greenlets need it: their pool takes no ``-B``."""
    with _celery(app, environment(url, relay), folder, "beat", "-l", "INFO", "--pidfile=") as process:
        yield process


@contextmanager
def _celery(app: Celery, env: dict[str, str], folder: Path, *arguments: str, **settings: bool) -> Iterator[Process]:
    given = {
        **settings,
        "broker_url": app.conf.broker_url,
        "task_default_queue": app.conf.task_default_queue,
        "beat_schedule_filename": str(folder / secrets.token_hex(4)),
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.outbox.celery_worker"]
    log = folder / f"{secrets.token_hex(4)}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env=env | {"OUTBOX_TEST_CELERY": json.dumps(given)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException as exc:
        exc.add_note(f"celery {arguments[0]}:\n{log.read_text()[-3_000:]}")
        raise
    finally:
        kill(process)


def kill(process: Process) -> None:
    """Kill the worker and the children of its session, which is its alone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# -- the broker


def queued_tasks(app: Celery) -> int:
    """Return how many tasks the queue holds; it is not there before the first, which is told from a thread."""
    try:
        return int(queue_call(app, "queue_declare", passive=True).message_count)
    except ChannelError:
        return 0


def queue_call(app: Celery, method: str, **options: bool) -> Any:  # noqa: ANN401 - what the broker answers
    """Do something to the application's queue at the broker."""
    with app.connection_for_write() as connection, connection.channel() as channel:
        return getattr(channel, method)(app.conf.task_default_queue, **options)


def wipe(app: Celery) -> None:
    """Have the broker forget every task, also those that a worker has and did not acknowledge, and the queue itself."""
    url = str(app.conf.broker_url)
    if url.startswith("redis:"):
        with Redis.from_url(url) as client:
            client.flushall()
    else:
        queue_call(app, "queue_delete")  # a purge would leave what is not acknowledged


# -- a worker's pool, as its main process knows it


def children(app: Celery, process: Process) -> list[int]:
    """Return the process ids of a prefork pool."""
    return list(_ask(app, process, "stats")["pool"]["processes"])


def executing(app: Celery, process: Process) -> dict[str, int]:
    """Return the ids of the tasks of mail that a pool has begun and not acknowledged, and which child has each."""
    return {
        each["id"]: each["worker_pid"]
        for each in _ask(app, process, "active")
        if each["name"] in {DELIVER, DRAIN} and each["worker_pid"]
    }


def reserved(app: Celery, process: Process) -> list[str]:
    """Return the ids of the tasks of mail that the worker has and has not begun."""
    return [each["id"] for each in _ask(app, process, "reserved") if each["name"] in {DELIVER, DRAIN}]


def is_idle(app: Celery, process: Process) -> bool:
    """Tell whether no task of mail is at the broker or the worker. One of a child that died is its until given back."""

    def has_none() -> bool:
        return not executing(app, process) and not reserved(app, process)

    return has_none() and queued_tasks(app) == 0 and has_none()


def _ask(app: Celery, process: Process, question: str) -> Any:  # noqa: ANN401 - what the worker answers
    """Ask until there is an answer: a question that comes while a child is being replaced may be lost."""
    assert isinstance(process.args, list)
    name = process.args[process.args.index("-n") + 1]
    for _ in range(20):
        if answer := getattr(app.control.inspect([name], timeout=1.0, limit=1), question)():
            return answer[name]
    raise TimeoutError(f"{name} does not say what is {question}")

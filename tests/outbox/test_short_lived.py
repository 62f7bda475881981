"""Telling Redis and RabbitMQ from a thread: what a process leaves behind that ends at once, or outlives an outage."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from celery import Celery
from django.core.mail import send_mail

from robust_email.outbox import wakeup
from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.tasks import DRAINS
from robust_email.testing.proxy import CuttableProxy
from tests.outbox.celery_processes import application, kill, queued_tasks
from tests.outbox.processes import ROOT, environment
from tests.outbox.test_killed import until

if TYPE_CHECKING:
    from pathlib import Path

    from robust_email.testing import ScriptedServer

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)]


def woken(app: Celery, url: str, relay: ScriptedServer, **settings: Any) -> dict[str, str]:  # noqa: ANN401 - settings
    """Return the environment of a process whose mail wakes workers of this application."""
    given = {name: app.conf[name] for name in ("broker_url", "task_default_queue")}
    env = environment(url, relay, **{"EMAIL_OUTBOX_WAKEUP": "celery"} | settings)
    return env | {"OUTBOX_TEST_SENDER": json.dumps(given)}


def run_sender(
    app: Celery,
    url: str,
    relay: ScriptedServer,
    how: str = "once",
    **settings: Any,  # noqa: ANN401 - settings
) -> tuple[float, float]:
    """Run a process that sends and ends; return how long ``send_mail()`` took, and how long the end."""
    command = [sys.executable, "-m", "tests.outbox.sender", how]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=woken(app, url, relay, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ended = time.monotonic()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    return said["seconds"], ended - said["ends_at"]


@pytest.mark.parametrize(
    ("how", "mails"),
    [
        ("once", 1),
        ("fork", 2),
        ("multiprocessing-fork", 1),
        ("multiprocessing-spawn", 1),
        ("multiprocessing-forkserver", 1),
    ],
)
def test_a_process_that_ends_at_once_has_told(
    outbox_url: str, relay: ScriptedServer, broker: Celery, how: str, mails: int
) -> None:
    """A script, or a child, that sends and ends leaves a task in the broker for each of its mails."""
    run_sender(broker, outbox_url, relay, how, EMAIL_OUTBOX_WAKEUP_AT_EXIT=20)
    assert OutboxMessage.objects.filter(state="queued").count() == mails
    assert queued_tasks(broker) == mails


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_fork_after_the_first_mail(outbox_url: str, relay: ScriptedServer, broker: Celery) -> None:
    """Parent and child tell of their own mail and of no other. With AMQP Celery itself shares a connection then."""
    run_sender(broker, outbox_url, relay, "fork-late", EMAIL_OUTBOX_WAKEUP_AT_EXIT=20)
    assert OutboxMessage.objects.filter(state="queued").count() == 3
    assert queued_tasks(broker) == 3


def test_a_pools_child_that_ends_at_once_has_told(
    outbox_url: str, relay: ScriptedServer, broker: Celery, tmp_path: Path
) -> None:
    """A child of Celery's that is replaced tells of its last task's mail, however slow the broker. There is no beat."""
    slow = {"EMAIL_OUTBOX_WAKEUP": "tests.outbox.sender.SlowWakeUp", "EMAIL_OUTBOX_WAKEUP_AT_EXIT": 20}
    options = ["worker", "-c", "1", "--max-tasks-per-child", "1", "-n", f"{secrets.token_hex(4)}@worker"]
    with (tmp_path / "log").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.outbox.sender", *options],
            cwd=ROOT,
            env=woken(broker, outbox_url, relay, **slow),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        broker.send_task("tests.send")
        relay.wait_for(lambda it: len(it.accepted) == 1, 20)
    finally:
        kill(process)


@pytest.mark.parametrize("how", ["refuses", "is silent"])
def test_a_process_ends_though_its_broker_is_away(
    outbox_url: str, relay: ScriptedServer, broker: Celery, how: str
) -> None:
    """A script's mail is written at once, and it ends after the second that it may wait for the broker."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if how == "refuses":
            listener.close()
        place = urlsplit(str(broker.conf.broker_url))
        app = Celery("away", broker=urlunsplit(place._replace(netloc=f"guest:guest@127.0.0.1:{port}")))
        seconds, end = run_sender(app, outbox_url, relay)
        app.close()
    assert seconds < 0.5
    assert end < 1 + 2, "the interpreter's own end takes its time, too"
    assert OutboxMessage.objects.filter(state="queued").count() == 1


@pytest.mark.parametrize("how", ["refuses", "is silent"])
def test_a_broker_that_is_back_hears_of_one_backlog(
    outbox_url: str, relay: ScriptedServer, broker: Celery, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What a process could not tell is told by itself, as one backlog, however much it was, when the broker answers."""
    monkeypatch.setattr(wakeup, "SILENCE", 0.2)
    monkeypatch.setattr(wakeup, "MOST_WAITING", 2)
    place = urlsplit(str(broker.conf.broker_url))
    with CuttableProxy(str(place.hostname), place.port or 5672) as proxy:
        user, at, _ = place.netloc.rpartition("@")
        app = application(urlunsplit(place._replace(netloc=f"{user}{at}{proxy.host}:{proxy.port}")))
        app.conf.task_default_queue = broker.conf.task_default_queue
        app.conf.broker_transport_options = {"max_retries": 0}
        if how == "refuses":
            proxy.refuse()
        else:
            proxy.deaf()
        for _ in range(10):
            send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
            if how == "is silent":
                until(lambda: proxy.connections > 0)
        if how == "refuses":
            assert wakeup.publisher.flush(20)
        assert queued_tasks(broker) == 0
        proxy.restore()
        told_one_by_one = 0 if how == "refuses" else 3  # the one at the broker, and the two that wait
        until(lambda: queued_tasks(broker) == told_one_by_one + DRAINS)
        assert wakeup.publisher.flush(20)
        wakeup.publisher.forget()
        app.close()
    broker.set_default()
    assert queued_tasks(broker) == told_one_by_one + DRAINS

"""Real Celery workers on Redis and RabbitMQ: woken by the commit, killed, with the broker wiped and the broker away."""

from __future__ import annotations

import socket
import statistics
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.core.mail import send_mail
from django.db import connections, transaction

from robust_email.outbox import wakeup
from robust_email.outbox.database import database
from robust_email.outbox.models import OutboxMessage
from robust_email.testing import At, Fault, Reply, Stall
from tests.outbox.celery_processes import application, celery_worker, kill, queue_call, queued_tasks
from tests.outbox.test_killed import enqueue, judge, until

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)


def all_ended() -> bool:
    """Tell whether no mail waits."""
    return not OutboxMessage.objects.filter(finished_at__isnull=True).exists()


@pytest.mark.slow
def test_a_commit_wakes_a_worker(outbox_url: str, relay: ScriptedServer, broker: Celery, tmp_path: Path) -> None:
    """What is committed is handed over by a worker that was told. There is no beat: nobody else would find it."""
    with celery_worker(broker, outbox_url, relay, tmp_path, "-c", "2") as process:
        for number in range(10):
            with transaction.atomic(using=database()):
                send_mail("hi", "there", "shop@example.org", [f"user{number}@example.net"])
        until(all_ended, process)
    assert judge(relay, 10) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("pool", [("-P", "threads"), ("-P", "gevent")], ids=["threads", "gevent"])
def test_other_pools(
    outbox_url: str, relay: ScriptedServer, broker: Celery, tmp_path: Path, pool: tuple[str, ...]
) -> None:
    """Threads and greenlets deliver each mail once."""
    enqueue(40)
    with celery_worker(broker, outbox_url, relay, tmp_path, *pool, "-c", "4") as process:
        until(all_ended, process)
    assert judge(relay, 40) == (0, 0)


@pytest.mark.slow
def test_a_deferred_mail_comes_back_by_the_timer(
    outbox_url: str, relay: ScriptedServer, broker: Celery, tmp_path: Path
) -> None:
    """A 451 is followed by another attempt of the task's own. There is no beat: nobody else would make it."""
    relay.add_fault(Fault(At.RCPT, Reply("451 4.7.1 later"), times=2))
    with celery_worker(broker, outbox_url, relay, tmp_path, "-c", "1") as process:
        send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
        until(all_ended, process)
    assert OutboxMessage.objects.get().attempts == 3
    assert len(relay.accepted) == 1


@pytest.mark.slow
def test_killed_workers_lose_nothing(outbox_url: str, relay: ScriptedServer, broker: Celery, tmp_path: Path) -> None:
    """A worker killed with its children while it hands over: the next one brings everything to its end."""
    relay.add_fault(Fault(At.GREETING, Stall(), times=1))
    with celery_worker(broker, outbox_url, relay, tmp_path, "-B", "-c", "2") as process:
        enqueue(30)
        relay.wait_for(lambda it: it.connections >= 1, 30)
        kill(process)
    with celery_worker(broker, outbox_url, relay, tmp_path, "-B", "-c", "2") as process:
        until(all_ended, process)
    doubts, doubles = judge(relay, 30)
    assert doubles <= doubts


@pytest.mark.slow
def test_a_wiped_broker_forgets_no_mail(outbox_url: str, relay: ScriptedServer, broker: Celery, tmp_path: Path) -> None:
    """With all messages of the broker gone, the sweep finds the mails."""
    enqueue(5)
    until(lambda: queued_tasks(broker) > 0)
    queue_call(broker, "queue_purge")
    with celery_worker(broker, outbox_url, relay, tmp_path, "-B", "-c", "1") as process:
        until(all_ended, process)
    assert judge(relay, 5) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refuses", "is silent"])
def test_a_broker_that_is_away_costs_a_request_little(
    outbox_url: str, relay: ScriptedServer, broker: Celery, how: str
) -> None:
    """One that refuses connections, or takes them and says nothing, costs under 50 ms more than one that is up."""
    connections[database()].ensure_connection()
    usual = [timed_send_mail() for _ in range(CALLS)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if how == "refuses":
            listener.close()
        place = urlsplit(str(broker.conf.broker_url))
        app = application(urlunsplit(place._replace(netloc=f"guest:guest@127.0.0.1:{port}")))
        away = [timed_send_mail() for _ in range(CALLS)]
        wakeup.publisher.forget()
        app.close()
    broker.set_default()
    # The first also imports what Celery needs for a broker, and this machine may stumble over one.
    assert statistics.median(away) < statistics.median(usual) + 0.05, (usual, away)
    assert sorted(away)[-2] < sorted(usual)[-2] + 0.05, (usual, away)
    assert OutboxMessage.objects.filter(state="queued").count() == 2 * CALLS


CALLS = 9


def timed_send_mail() -> float:
    """Return the seconds that one ``send_mail()`` takes which has to ask the broker, commit and wake-up included."""
    wakeup.publisher.forget()  # or it would not ask for a while
    began = time.perf_counter()
    with transaction.atomic(using=database()):
        send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
    return time.perf_counter() - began

"""A worker process of the governor's tests: ``python -m tests.governor.worker JSON``; one line of JSON per mail.

The engine, a governor and a shared store: a Redis, and then there is no Django here, or a database. What it does is
named by ``task``.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import TYPE_CHECKING, Any

from robust_email.smtp import (
    Credentials,
    Envelope,
    MailData,
    OpeningRetry,
    PoolLimits,
    SmtpConfig,
    SMTPConnectionError,
    SubmissionClient,
    Timeouts,
)
from robust_email.smtp.governor import BreakerPolicy, Lane, Rate, RelayLimits, SharedGovernor
from robust_email.smtp.governor.redis_store import RedisStore
from robust_email.smtp.outcome import Scope
from robust_email.smtp.relays import Relay, RelayGroup
from robust_email.smtp.retry import Schedule

if TYPE_CHECKING:
    from robust_email.smtp.governor import Store


def client_for(task: dict[str, Any]) -> SubmissionClient:
    """Make a client with a governor as the task wants it."""
    config = SmtpConfig(
        host=task["host"],
        port=task["port"],
        local_hostname="me.test",
        timeouts=Timeouts.uniform(20.0),
        retry=OpeningRetry(attempts=1, delay=0.0),
        credentials=Credentials("ann", task["password"]) if "password" in task else None,
        pool=PoolLimits(wait=task.get("patience", 60.0) or 0.001, **task.get("pool", {})),
    )
    limits = RelayLimits(
        rates=Rate.parse_all(task.get("rate", "")),
        connections=task.get("connections"),
        breaker=BreakerPolicy(**task.get("breaker", {})),
        adaptive=task.get("adaptive", True),
        lease=task.get("lease", 15.0),
        turn=task.get("turn", 5.0),
        processes=task.get("processes", 4),
    )
    store = store_at(task["store"], task.get("timeout", 5.0))
    endpoint = task.get("endpoint", config.endpoint)  # one relay for all, though somebody's way there be another
    return SubmissionClient(config, governor=SharedGovernor(endpoint, f"{endpoint}:ann", limits, store))


def store_at(url: str, timeout: float) -> Store:
    """Return the store: a Redis, or a database that has the governor's table."""
    if url.startswith("redis"):
        return RedisStore(url, timeout=timeout)
    import django
    from django.conf import settings

    from tests.outbox.databases import configuration

    settings.configure(DATABASES={"default": configuration(url)}, INSTALLED_APPS=["robust_email.governor"])
    django.setup()
    from robust_email.governor.store import DatabaseStore  # its model needs the app

    return DatabaseStore()


def send(client: SubmissionClient | RelayGroup, name: str, lane: Lane, patience: float, schedule: Schedule) -> None:
    """Hand over one mail, again whenever it was held back, and say what became of it.

    A recipient that is put off is tried again as ``schedule`` says, as the outbox would.
    """
    envelope = Envelope.of("shop@example.org", [f"{name}@example.org"])
    data = MailData.from_bytes(b"Subject: hi\r\nMessage-ID: <%b>\r\n\r\nhello\r\n" % name.encode())
    asked, tries = time.monotonic(), 0
    while True:
        tries += 1
        verdict = client.submit(envelope, data, lane=lane).decisive
        retry_after = verdict.failure.retry_after if verdict.failure else None
        if not verdict.retryable or time.monotonic() - asked > patience:
            break
        decision = schedule.decide(tries - 1, verdict, random.random) if verdict.scope is Scope.RECIPIENT else None
        time.sleep(decision.delay if decision else min(1.0, retry_after or 0.1))
    say(json.dumps([name, lane.name, asked, time.monotonic(), verdict.disposition.value, tries]))


def hold(client: SubmissionClient, patience: float) -> None:
    """Hold a session until told otherwise, asking for it again whenever it was held back."""
    asked = time.monotonic()
    while True:
        try:
            with client.lease():
                say("held")
                sys.stdin.readline()
                return
        except SMTPConnectionError:
            if time.monotonic() - asked > patience:
                raise
            time.sleep(0.1)


def say(text: str) -> None:
    """Tell the test."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Do the task."""
    task = json.loads(sys.argv[1])
    if "second" in task:
        send_all(task, RelayGroup([Relay("a", client_for(task)), Relay("b", client_for({**task, **task["second"]}))]))
        return
    client = client_for(task)
    if task["task"] == "hold":
        hold(client, task.get("patience", 0.0))
        return
    send_all(task, client)


def send_all(task: dict[str, Any], client: SubmissionClient | RelayGroup) -> None:
    """Hand over the task's mails when told to begin."""
    say("ready")
    sys.stdin.readline()
    lane, schedule = Lane[task.get("lane", "NORMAL")], Schedule(scale=task.get("scale", 1.0))
    for number in range(task["mails"]):
        if number:
            time.sleep(task.get("pause", 0.0))
        send(client, f"{task['name']}-{number}", lane, task.get("patience", 60.0), schedule)
    client.close()


if __name__ == "__main__":
    main()

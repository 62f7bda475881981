"""A worker process of the governor's tests: ``python -m tests.governor.worker JSON``; one line of JSON per mail.

Knows no Django: the engine, a governor and Redis. What it does is named by ``task``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from robust_email.smtp import (
    Credentials,
    Envelope,
    MailData,
    OpeningRetry,
    PoolLimits,
    SmtpConfig,
    SubmissionClient,
    Timeouts,
)
from robust_email.smtp.governor import BreakerPolicy, Lane, Rate, RelayLimits, SharedGovernor
from robust_email.smtp.governor.redis_store import RedisStore


def client_for(task: dict[str, Any]) -> SubmissionClient:
    """Make a client with a governor as the task wants it."""
    config = SmtpConfig(
        host=task["host"],
        port=task["port"],
        local_hostname="me.test",
        timeouts=Timeouts.uniform(20.0),
        retry=OpeningRetry(attempts=1, delay=0.0),
        credentials=Credentials("ann", task["password"]) if "password" in task else None,
        pool=PoolLimits(wait=task.get("patience", 60.0) or 0.001),
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
    governor = SharedGovernor(
        config.endpoint, f"{config.endpoint}:ann", limits, RedisStore(task["redis"], timeout=task.get("timeout", 5.0))
    )
    return SubmissionClient(config, governor=governor)


def send(client: SubmissionClient, name: str, lane: Lane, patience: float) -> None:
    """Hand over one mail, again whenever it was held back, and say what became of it."""
    envelope = Envelope.of("shop@example.org", ["ann@example.org"])
    data = MailData.from_bytes(b"Subject: hi\r\nMessage-ID: <%b>\r\n\r\nhello\r\n" % name.encode())
    asked, tries = time.monotonic(), 0
    while True:
        tries += 1
        verdict = client.submit(envelope, data, lane=lane).decisive
        retry_after = verdict.failure.retry_after if verdict.failure else None
        if not verdict.retryable or time.monotonic() - asked > patience:
            break
        time.sleep(min(1.0, retry_after or 0.1))
    say(json.dumps([name, lane.name, asked, time.monotonic(), verdict.disposition.value, tries]))


def say(text: str) -> None:
    """Tell the test."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Do the task."""
    task = json.loads(sys.argv[1])
    client = client_for(task)
    if task["task"] == "hold":
        with client.lease():
            say("held")
            sys.stdin.readline()
        return
    say("ready")
    sys.stdin.readline()
    lane = Lane[task.get("lane", "NORMAL")]
    for number in range(task["mails"]):
        if number:
            time.sleep(task.get("pause", 0.0))
        send(client, f"{task['name']}-{number}", lane, task.get("patience", 60.0))
    client.close()


if __name__ == "__main__":
    main()

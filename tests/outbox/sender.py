"""A process that puts mail into the outbox with Celery as its wake-up and ends at once.

``python -m tests.outbox.sender HOW``: ``once``, ``fork`` (in parent and child), ``fork-late`` (before it too), or in a
child alone, ``multiprocessing-`` and how it is begun. Says when it was about to end, by the clock that all processes
share, and how long ``send_mail()`` took. As ``celery -A tests.outbox.sender worker`` it has a task that sends.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from typing import TYPE_CHECKING

import django
from celery import Celery
from django.core.mail import send_mail
from django.db import connection

django.setup()

from robust_email.outbox.tasks import CeleryWakeUp  # noqa: E402 - after setup, as Django wants it
from robust_email.outbox.wakeup import publisher  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

app = Celery("outbox-tests", include=["robust_email.outbox.tasks"])
app.conf.update(json.loads(os.environ["OUTBOX_TEST_SENDER"]))

METHODS = {
    "fork": multiprocessing.get_context("fork").Process,
    "spawn": multiprocessing.get_context("spawn").Process,
    "forkserver": multiprocessing.get_context("forkserver").Process,
}


class SlowWakeUp(CeleryWakeUp):
    """One whose broker takes its time."""

    def notify(self, pks: Sequence[UUID]) -> None:
        """Tell, but late."""
        time.sleep(2)
        super().notify(pks)


@app.task(name="tests.send", ignore_result=True)
def send() -> float:
    """Put a mail into the outbox; return how long that took."""
    connection.ensure_connection()
    began = time.monotonic()
    send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
    return time.monotonic() - began


def main(how: str) -> None:
    """Send, in this process or another."""
    seconds = 0.0
    match how.split("-"):
        case ["once"]:
            seconds = send()
        case ["fork", *before]:
            if before:
                send()
                assert publisher.flush(20)
            connection.close()
            child = os.fork()
            seconds = send()
            if not child:
                return
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        case ["multiprocessing", method]:
            child_process = METHODS[method](target=send)
            child_process.start()
            child_process.join()
            assert child_process.exitcode == 0
    sys.stdout.write(json.dumps({"ends_at": time.monotonic(), "seconds": seconds}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

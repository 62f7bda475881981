"""A process that is one project with one outbox: ``python -m benchmarks.outbox_peers``, told what to do line by line.

Each line on its input is a JSON list, a word of ``JOBS`` and its arguments; each line on its output the answer.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage, get_connection
from django.core.management import call_command
from django.db import connection
from django.db.backends.signals import connection_created

from benchmarks import outbox_growth
from benchmarks import outbox_project as project

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = "Thank you for your order, it is on its way.\n" * 20
STATEMENTS: Counter[str] = Counter()


def count_statements(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001 - Django's signature
    """Count what is sent to the database, each INSERT, SELECT, BEGIN for itself."""
    STATEMENTS[sql.split(None, 1)[0].upper()] += 1
    return execute(sql, params, many, context)


def enqueue(count: int, at_once: int = 1) -> dict[str, Any]:
    """Send so many mails: each committed by itself, as requests do, or many by one call."""
    STATEMENTS.clear()
    began = time.monotonic()
    for _ in range(0, count, at_once):
        CALLS[project.GIVEN.get("call", "send_messages")](at_once)
    return {"began": began, "seconds": time.monotonic() - began, "statements": STATEMENTS.total()}


def send_messages(count: int) -> None:
    """Call Django's own function for many, of the project's backend."""
    mails = [EmailMessage("Your order", BODY, "shop@example.org", ["ann@example.org"]) for _ in range(count)]
    get_connection().send_messages(mails)


def send_many(count: int) -> None:
    """Call django-post_office's function for many."""
    from post_office.mail import send_many

    mail = {"sender": "shop@example.org", "recipients": ["ann@example.org"], "subject": "Your order", "message": BODY}
    send_many([mail] * count)


CALLS: dict[str, Callable[[int], None]] = {"send_messages": send_messages, "send_many": send_many}


def drain() -> dict[str, Any]:
    """Hand over all that waits, as the outbox's own command does, sessions opened anew."""
    STATEMENTS.clear()
    began = time.monotonic()
    DRAINS[project.GIVEN["outbox"]]()
    return {"seconds": time.monotonic() - began, "statements": STATEMENTS.total()}


def drain_ours() -> None:
    """``outbox_drain --until-empty --concurrency 5``."""
    from robust_email.registry import registry

    call_command("outbox_drain", until_empty=True, concurrency=project.THREADS, json=True, stdout=sys.stderr)
    registry.close()


def drain_post_office() -> None:
    """``send_queued_mail``, with its threads."""
    from post_office.mail import send_queued_mail_until_done

    send_queued_mail_until_done(str(Path(project.GIVEN["folder"], "post_office")))


def drain_mailer() -> None:
    """``send_mail``."""
    from mailer.engine import send_all

    send_all()


DRAINS: dict[str, Callable[[], None]] = {
    "ours": drain_ours,
    "post_office": drain_post_office,
    "mailer": drain_mailer,
    "celery_email": lambda: None,
}
JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "enqueue": enqueue,
    "drain": drain,
    "fill": outbox_growth.fill,
    "claim_time": outbox_growth.claim_time,
    "drain_watched": outbox_growth.drain_watched,
    "serve": outbox_growth.serve,
}


def main() -> None:
    """Make the tables and wait for work."""
    logging.disable(logging.WARNING)
    call_command("migrate", verbosity=0)
    connection.close()  # so that the next one is counted
    connection_created.connect(lambda connection, **_: connection.execute_wrappers.append(count_statements), weak=False)
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        job, *arguments = json.loads(line)
        print(json.dumps(JOBS[job](*arguments)), flush=True)


if __name__ == "__main__":
    main()

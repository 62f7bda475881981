"""``python -m benchmarks.dashboard [--rows 10000000]``: how long the admin's pages take over an outbox of any size.

Fills a PostgreSQL database of its own in one month's order, tallies it as the sweep would, opens each page, prints the
medians as a table, and drops the database. Ten million rows take some six minutes and 12 GB.
``ROBUST_EMAIL_TEST_POSTGRES_URL`` says which server. Exit code 1 if a median is above ``LIMIT``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import django
import psycopg
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

SERVER = os.environ.get("ROBUST_EMAIL_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
NAME = "robust_email_dashboard_benchmark"
LIMIT = 300.0
"""Milliseconds, at the median."""
OPENINGS = 11
ADMIN = "/admin/robust_email_outbox/"

FILL = """
CREATE UNLOGGED TABLE base AS
SELECT i, at, md5(i::text) AS word, random() AS kind, random() AS seconds,
    CASE WHEN i > %(rows)s - 3000 THEN 'queued' WHEN dice < 0.010 THEN 'refused' WHEN dice < 0.012 THEN 'dead'
         WHEN dice < 0.013 THEN 'partly' WHEN dice < 0.0135 THEN 'in-doubt' WHEN dice < 0.0145 THEN 'expired'
         ELSE 'accepted' END AS state,
    CASE WHEN which < 0.7 THEN 'default' WHEN which < 0.95 THEN 'mailer:newsletter' ELSE 'ref:7' END AS relay,
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8'
        || substr(md5(i::text), 4, 15))::uuid AS id
FROM (SELECT i, now() - interval '30 days' + i * (interval '30 days' / %(rows)s) AS at, random() AS dice,
        random() AS which FROM generate_series(1, %(rows)s) AS i) AS mails;

INSERT INTO robust_email_outbox_outboxmessage (id, created_at, message_id, reverse_path, content, content_name,
    content_size, sensitive, relay, relay_sealed, kind, priority, in_doubt, state, reason, next_attempt_at,
    waits_for_relay, attempts, retries, doubts, lost_leases, lease_owner, finished_at {more_columns})
SELECT id, at, '<' || word || '@shop.example>', 'shop@example.org', convert_to(repeat(word, 8), 'utf8'), '', 256, false,
    relay, '', CASE WHEN kind < 0.5 THEN 'order' WHEN kind < 0.8 THEN 'newsletter' ELSE 'verification' END, 2, 'resend',
    state, CASE WHEN state IN ('refused', 'dead', 'partly') THEN '550 5.1.1 no such user' ELSE '' END,
    CASE WHEN state = 'queued' THEN now() END, false, 1, 0, 0, 0, '',
    CASE WHEN state <> 'queued' THEN at + interval '2 seconds' END {more_values} FROM base;

INSERT INTO robust_email_outbox_outboxrecipient (message_id, position, address, standing, enhanced_code, reason)
SELECT id, 0, 'customer' || (i %% 3000000) || '@example.net', 'pending', '', '' FROM base;

INSERT INTO robust_email_outbox_submissionattempt (message_id, ended_at, seconds, endpoint, worker, phase, disposition,
    scope, enhanced_code, reply, accepted, deferred, refused, in_doubt)
SELECT id, at + interval '2 seconds', -ln(1 - seconds * 0.9999) * 0.08, 'mail.example.org:587', 'worker/7/ab',
    CASE WHEN state IN ('refused', 'dead', 'partly') THEN 'rcpt' ELSE 'await-final' END,
    CASE state WHEN 'accepted' THEN 'accepted' WHEN 'in-doubt' THEN 'in-doubt' ELSE 'refused' END,
    'transaction', '', '250 2.0.0 Ok', 1, 0, 0, 0 FROM base WHERE state <> 'queued' ORDER BY i;

DROP TABLE base;
"""
TABLES = [f"robust_email_outbox_{name}" for name in ("outboxmessage", "outboxrecipient", "submissionattempt")]


def main() -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows: int = parser.parse_args().rows
    with a_database():
        configure()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        fill(rows)
        from robust_email.outbox.services.tallying import roll_up

        while roll_up():
            pass
        vacuum()
        medians = dict(measured(log_in()))
    print(f"{rows:,} mails, milliseconds at the median of {OPENINGS} openings")
    for name, milliseconds in medians.items():
        print(f"{name:<34} {milliseconds:7.1f}")
    return int(max(medians.values()) > LIMIT)


@contextmanager
def a_database() -> Iterator[None]:
    """Make an empty one, and drop it afterwards."""
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {NAME}")
        try:
            yield
        finally:
            server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


def configure() -> None:
    """Set up the settings of the library's tests, on this database."""
    from tests import settings as given

    place = urlsplit(SERVER)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": place.hostname,
        "PORT": place.port or "",
        "USER": place.username or "",
        "PASSWORD": place.password or "",
        "NAME": NAME,
    }
    own = {name: getattr(given, name) for name in dir(given) if name.isupper() and name != "LIBRARY"}
    settings.configure(**own | {"DATABASES": {"default": database}, "ALLOWED_HOSTS": ["testserver"]})
    django.setup()


def fill(rows: int) -> None:
    """Write a month's mails, with the secondary indexes made afterwards."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY(%s) "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            [TABLES],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        columns, values = later_columns()
        for statement in FILL.format(more_columns=columns, more_values=values).split(";"):
            if statement.strip():
                cursor.execute(statement, {"rows": rows})
        for _, definition in indexes:
            cursor.execute(definition)


def later_columns() -> tuple[str, str]:
    """Return columns that must not be NULL and are not in ``FILL``, with an empty text for each."""
    from robust_email.outbox.models import OutboxMessage

    missing = [
        field.column
        for field in OutboxMessage._meta.local_fields  # noqa: SLF001 - Django's documented interface to models
        if not field.null and str(field.column) not in FILL and field.get_internal_type() in {"CharField", "TextField"}
    ]
    return "".join(f", {name}" for name in missing), ", ''" * len(missing)


def vacuum() -> None:
    """Do what the autovacuum would have done in that month."""
    from django.db import connection

    with connection.cursor() as cursor:
        for table in (*TABLES, "robust_email_outbox_submissiontally"):
            cursor.execute(f"VACUUM ANALYZE {table}")


def log_in() -> Client:
    """Log somebody in who may see everything."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("operator"))  # type: ignore[arg-type]  # the tests' own users
    return client


def measured(client: Client) -> Iterator[tuple[str, float]]:
    """Yield the median milliseconds of each page."""
    from robust_email.outbox.models import OutboxMessage

    mail = OutboxMessage.objects.filter(state="refused", finished_at__isnull=False).first()
    assert mail is not None
    mails = ADMIN + "outboxmessage/"
    pages = {
        "dashboard": ADMIN + "outboxrelay/",
        "mails": mails,
        "mails, the last page": mails + "?p=40",
        **{f"mails, {state}": f"{mails}?state={state}" for state in ("queued", "accepted", "refused", "dead")},
        "mails, by relay": mails + "?relay=ref:7",
        "mails, by a relay that has none": mails + "?relay=ref:none",
        "mails, by kind, accepted": mails + "?kind=verification&state=accepted",
        "mails, of the last week": mails + "?within=week",
        "search, an address": mails + "?q=customer77@example.net",
        "search, a Message-ID": mails + "?q=" + mail.message_id.strip("<>"),
        "search, nothing found": mails + "?q=nobody@example.com",
        "one mail": f"{mails}{mail.pk}/change/",
        "health": "/health/outbox/",
    }
    for name, url in pages.items():
        yield name, statistics.median(opening(client, url) for _ in range(OPENINGS))


def opening(client: Client, url: str) -> float:
    """Return how many milliseconds a page took."""
    began = time.perf_counter()
    answer: Any = client.get(url)
    assert answer.status_code in {200, 503}, (url, answer.status_code)
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())

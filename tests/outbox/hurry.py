"""A database whose clock a test puts forward: minutes pass in the time that the workers need for what is due in them.

Outbox and governor go by the database's clock alone (``EMAIL_GOVERNOR = "database"``), so whoever moves it moves what
they compare, in every process at once. Two functions with the names of the server's own do it, in a schema that comes
before ``pg_catalog`` for those who connect with ``SEARCH_PATH``. PostgreSQL only.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from django.db import connections

from robust_email.outbox.models import OutboxMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

SEARCH_PATH: Final = "-c search_path=hurried,public,pg_catalog"
"""For ``OPTIONS["options"]`` of a worker's database."""

_MAKE: Final = """
CREATE SCHEMA hurried;
CREATE UNLOGGED TABLE hurried.clock (ahead interval NOT NULL);
INSERT INTO hurried.clock VALUES ('0');
CREATE FUNCTION hurried.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.clock_timestamp() + ahead FROM hurried.clock';
CREATE FUNCTION hurried.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT pg_catalog.statement_timestamp() + ahead FROM hurried.clock';
"""


class HurriedClock:
    """The clock of one database. It runs as fast as ours, and is put forward from where it is."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def now(self) -> datetime:
        """Return the workers' time."""
        with connections[self._alias].cursor() as cursor:
            cursor.execute("SELECT hurried.clock_timestamp()")
            [found] = cursor.fetchone() or [None]
        assert isinstance(found, datetime)
        return found

    def step(self) -> None:
        """Put it forward by a second."""
        with connections[self._alias].cursor() as cursor:
            cursor.execute("UPDATE hurried.clock SET ahead = ahead + interval '1 second'")

    def is_quiet(self) -> bool:
        """Tell whether no mail is due and no worker has one: then nothing but time can happen."""
        mails = OutboxMessage.objects.using(self._alias)
        leased, due = mails.filter(lease_until__isnull=False), mails.filter(next_attempt_at__lte=self.now())
        return not (leased.exists() or due.exists())


@contextmanager
def hurried_clock(alias: str) -> Iterator[HurriedClock]:
    """Give a database such a clock; it is taken away afterwards."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_MAKE)
    try:
        yield HurriedClock(alias)
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute("DROP SCHEMA hurried CASCADE")

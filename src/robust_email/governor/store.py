"""The governor's store in the database: the database's clock, and never a lock that outlives a statement.

A caller may be inside a transaction (``ATOMIC_REQUESTS``). A row changed there would stay locked until the commit, and
every other worker would wait for it; so a change is then made over a connection of its own. SQLite, which has one
writer and no row locks, is used as it stands.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from django.db import Error as DbError
from django.db import IntegrityError, connections, router

from robust_email.governor.models import TABLE, SharedValue
from robust_email.smtp.governor import StoreUnavailable
from robust_email.smtp.governor.interface import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

_CLOCKS: Final[Mapping[str, str]] = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
}
_SELECT: Final = "SELECT text FROM {table} WHERE {key} = %s AND forget_at > %s"
_UPDATE: Final = (
    "UPDATE {table} SET text = %s, digest = %s, forget_at = %s WHERE {key} = %s AND (digest = %s OR forget_at <= %s)"
)
"""The last parameter lets a forgotten row be taken as one that isn't there."""
_INSERT: Final = "INSERT INTO {table} (text, digest, forget_at, {key}) VALUES (%s, %s, %s, %s)"


class DatabaseStore:
    """Values in one table. Three statements per change, two where nothing changes."""

    def __init__(self, using: str | None = None) -> None:
        """``using``: the database's alias; where models are written, by the routers, unless given."""
        self._using = using

    def read(self, key: str) -> Stored:
        """Return a value and the database's time. Raises ``StoreUnavailable``."""
        with self._connection() as connection, connection.cursor() as cursor:
            now = _now(connection, cursor)
            cursor.execute(_sql(connection, _SELECT), (key, now))
            row = cursor.fetchone()
        return Stored(now, row[0] if row else None)

    def swap(self, key: str, old: str | None, new: str, keep_for: float) -> bool:
        """Put ``new`` in place of ``old``; ``False`` if it has changed. Raises ``StoreUnavailable``."""
        with self._connection() as connection, connection.cursor() as cursor:
            now = _now(connection, cursor)
            values: list[str | float] = [new, _digest(new), now + keep_for, key]
            forgotten = now if old is None else 0.0
            cursor.execute(_sql(connection, _UPDATE), [*values, _digest(old or ""), forgotten])
            if cursor.rowcount:
                return True
            if old is not None:
                return False
            try:
                cursor.execute(_sql(connection, _INSERT), values)
            except IntegrityError:
                return False
            return True

    @contextmanager
    def _connection(self) -> Iterator[BaseDatabaseWrapper]:
        connection = connections[self._using or router.db_for_write(SharedValue)]
        apart = connection.in_atomic_block and connection.vendor != "sqlite"
        used = connection.copy() if apart else connection
        try:
            yield used
        except DbError as exc:
            if not used.in_atomic_block:
                used.close_if_unusable_or_obsolete()
            raise StoreUnavailable(f"{type(exc).__name__} (is robust_email.governor migrated?): {exc}") from exc
        finally:
            if apart:
                used.close()


def _now(connection: BaseDatabaseWrapper, cursor: Any) -> float:  # noqa: ANN401 - Django's stubs name no cursor
    query = _CLOCKS.get(connection.vendor)
    if query is None:
        return time.time()
    cursor.execute(query)
    return float(cursor.fetchone()[0])


def _sql(connection: BaseDatabaseWrapper, statement: str) -> str:
    quote = connection.ops.quote_name
    return statement.format(table=quote(TABLE), key=quote("key"))


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

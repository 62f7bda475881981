"""What the outbox asks of the database beside rows: which one, what time it is, a short transaction, and patience.

A lease is compared by several hosts. With each one's own clock, one that runs ahead would take the others' mails from
them in the middle of the hand-over; so the database, which they share, says what time it is.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.utils import timezone

from robust_email.conf import uses_time_zones
from robust_email.outbox.models import OutboxMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.db.models import Model, QuerySet

T = TypeVar("T")
M = TypeVar("M", bound="Model")

logger: Final = logging.getLogger("robust_email.outbox")

UNAVAILABLE: Final = (OperationalError, InterfaceError)
"""The database is away, restarting, full, locked, or chose this transaction to end a deadlock: worth another try.

Whoever means every error of the database catches ``django.db.Error``: ``InterfaceError`` is no ``DatabaseError``.
"""

_CLOCKS: Final[Mapping[str, str]] = {
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
}
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0
"""Seconds between two tries at a database that is away."""
GRACE: Final = 10.0
"""Seconds for which a worker that is to end goes on writing down what a relay has accepted."""
CHUNK: Final = 1_000
"""Rows that one statement changes at most, so that no lock is held for long."""


def database() -> str:
    """Return the alias of the database that holds the outbox."""
    return router.db_for_write(OutboxMessage)


def database_now(using: str) -> datetime:
    """Return the time, aware if the project uses time zones. SQLite is on this host, and so is its clock."""
    connection = connections[using]
    query = _CLOCKS.get(connection.vendor)
    if query is None:
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(query)
        [found] = cursor.fetchone() or [None]
    if not isinstance(found, datetime):
        raise TypeError(f"{query} gave {found!r}")
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC) if uses_time_zones() else timezone.make_naive(aware)


def skips_locked(using: str) -> bool:
    """Tell whether rows that another worker has locked can be passed over."""
    return connections[using].features.has_select_for_update_skip_locked


def passing_over_locked(rows: QuerySet[M, M]) -> QuerySet[M, M]:
    """Lock the rows of a query, leaving out those that others have; nothing where the database cannot."""
    return rows.select_for_update(skip_locked=True) if skips_locked(rows.db) else rows


def short_transaction(using: str) -> AbstractContextManager[None]:
    """Begin a transaction that commits when it is left: never inside another one, whose rollback would undo it.

    Raises ``RuntimeError`` there. Nothing in it may touch the network.
    """
    return transaction.atomic(using=using, durable=True)


def locking_transaction(using: str) -> AbstractContextManager[None]:
    """Begin one for SELECT ... SKIP LOCKED and UPDATE.

    On SQLite a transaction that reads first may not write afterwards if somebody else has: there each statement stands
    by itself, and the UPDATE asks for all that the SELECT had found.
    """
    return short_transaction(using) if skips_locked(using) else nullcontext()


def until_it_holds(
    change: Callable[[], T],
    *,
    using: str,
    give_up: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Make a change, again and again while the database is away; what it says otherwise is raised.

    ``give_up`` is asked before each further try; if it says so, the last error is raised.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return change()
        except UNAVAILABLE as exc:
            if give_up():
                raise
            logger.warning("The outbox's database is away (%s); trying again in %.2f s", type(exc).__name__, pause)
            connections[using].close_if_unusable_or_obsolete()
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def after_a_grace(
    stop: Callable[[], bool], *, grace: float = GRACE, clock: Callable[[], float] = time.monotonic
) -> Callable[[], bool]:
    """Return a ``give_up`` that agrees once ``stop`` has said so for ``grace`` seconds: as long as a restart takes."""
    since: list[float] = []

    def give_up() -> bool:
        if not stop():
            return False
        since.append(clock())
        return since[-1] - since[0] >= grace

    return give_up

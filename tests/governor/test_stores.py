"""Every store keeps the same promises: one clock, compare-and-swap, and to say so when it is gone."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections, transaction

from robust_email.governor.models import TABLE
from robust_email.governor.store import DatabaseStore
from robust_email.smtp.governor import MemoryStore, StoreUnavailable
from robust_email.smtp.governor.books import Book
from robust_email.smtp.governor.redis_store import RedisStore
from tests.governor.databases import migrated
from tests.outbox.databases import url_of_sqlite
from tests.outbox.faults import DatabaseFault, database_fault

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import DjangoDbBlocker

    from robust_email.smtp.governor import Store


@dataclass
class Count:
    """The least that a book can hold."""

    value: int = 0


BOOK: Book[Count] = Book("count", 60.0, lambda raw: Count(**raw or {}))


def add_one(count: Count, _now: float) -> int:
    """Count, and return what it came to."""
    count.value += 1
    return count.value


def test_only_what_was_read_is_replaced(store: Store) -> None:
    """A swap holds if nobody was faster; a key that is there is not made anew."""
    assert store.read("k").text is None
    assert store.swap("k", None, "one", 60)
    assert store.read("k").text == "one"
    assert not store.swap("k", None, "new", 60)
    assert not store.swap("k", "other", "new", 60)
    assert store.swap("k", "one", "two", 60)
    assert (store.read("k").text, store.read("j").text) == ("two", None)


def test_its_clock_goes(store: Store) -> None:
    """Seconds that never go back, at the rate of ours."""
    ours = time.monotonic()
    times = [store.read("k").now for _ in range(20)]
    assert times == sorted(times)
    assert times[-1] - times[0] <= time.monotonic() - ours + 0.1


def test_what_nobody_uses_is_forgotten(store: Store) -> None:
    """A key is kept as long as it was said, so that a store doesn't fill up; one process's memory has no need to."""
    if isinstance(store, MemoryStore):
        return
    assert store.swap("k", None, "old", 0.05)
    until = time.monotonic() + 5
    while store.read("k").text is not None:
        assert time.monotonic() < until
    assert store.swap("k", None, "new", 60)
    assert store.read("k").text == "new"


def test_no_change_is_lost_among_many_threads(store: Store) -> None:
    """Eight threads that count to fifteen have counted to 120."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(15):
                BOOK.change(store, add_one)
        except BaseException as exc:  # noqa: BLE001 - shown below
            errors.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert json.loads(store.read("count").text or "") == {"value": 120}


def test_a_change_that_changes_nothing_writes_nothing(store: Store) -> None:
    """Asking alone never makes others lose a race."""
    BOOK.change(store, add_one)
    before = store.read("count").text

    class NoSwap:
        """Reads only."""

        read = staticmethod(store.read)

        def swap(self, *_: Any) -> bool:  # noqa: ANN401 - a stand-in
            """Fail."""
            raise AssertionError

    assert BOOK.change(NoSwap(), lambda count, _: count.value) == 1
    assert store.read("count").text == before


def test_a_database_holds_no_row_locked_for_a_caller_in_a_transaction(database_alias: str) -> None:
    """With ATOMIC_REQUESTS a permit is taken in the middle of a request; others take theirs before it commits.

    On SQLite, which has one writer, nobody can: there the store is said to be gone, and nobody waits for ever.
    """
    store = DatabaseStore(database_alias)
    BOOK.change(store, add_one)
    seen: list[object] = []

    def other() -> None:
        try:
            seen.append(BOOK.change(DatabaseStore(database_alias), add_one))
        except StoreUnavailable as exc:
            seen.append(exc)
        finally:
            connections.close_all()

    is_sqlite = connections[database_alias].vendor == "sqlite"
    if is_sqlite:
        connections.databases[database_alias]["OPTIONS"]["timeout"] = 0.1
    with transaction.atomic(using=database_alias):
        assert BOOK.change(store, add_one) == 2
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)
    if is_sqlite:
        assert isinstance(seen[0], StoreUnavailable)
    else:
        assert seen == [3]


def test_a_database_without_the_table_is_unavailable(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> None:
    """The error says that the app may not be migrated."""
    with django_db_blocker.unblock(), migrated(url_of_sqlite(tmp_path)) as alias:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"DROP TABLE {TABLE}")
        with pytest.raises(StoreUnavailable, match="migrated"):
            DatabaseStore(alias).read("k")


def test_a_redis_that_does_not_answer_is_unavailable() -> None:
    """Refused or late, it is the same to a caller."""
    store = RedisStore("redis://127.0.0.1:1/0", timeout=0.2)
    with pytest.raises(StoreUnavailable):
        store.read("k")
    with pytest.raises(StoreUnavailable):
        store.swap("k", None, "x", 1)


def test_a_dead_connection_is_unavailable(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> None:
    """Drivers raise ``InterfaceError`` on one, which Django counts among no ``DatabaseError``."""
    with django_db_blocker.unblock(), migrated(url_of_sqlite(tmp_path)) as alias:
        store = DatabaseStore(alias)
        store.read("k")
        with database_fault(DatabaseFault(times=2)):
            with pytest.raises(StoreUnavailable, match="InterfaceError"):
                store.read("k")
            with pytest.raises(StoreUnavailable, match="InterfaceError"):
                store.swap("k", None, "x", 1)
        assert store.read("k").text is None

"""The stores in turn: one process's memory, a Redis server, and the databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robust_email.governor.store import DatabaseStore
from robust_email.smtp.governor import MemoryStore
from robust_email.smtp.governor.redis_store import RedisStore
from tests.governor.databases import migrated
from tests.outbox.databases import url_of_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_django import DjangoDbBlocker

    from robust_email.smtp.governor import Store

DATABASES = ("sqlite", "postgres", "mariadb")


def url_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Return the URL of a database of a kind; the test is skipped where there is no such server."""
    return url_of_sqlite(folder) if kind == "sqlite" else str(request.getfixturevalue(f"{kind}_url"))


@pytest.fixture(params=DATABASES)
def database_alias(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """Give the alias of each kind of database."""
    with django_db_blocker.unblock(), migrated(url_of(request.param, tmp_path, request)) as alias:
        yield alias


@pytest.fixture(params=["redis", "postgres"])
def shared_store(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """Give the URL of a store that processes share, empty."""
    if request.param == "redis":
        yield request.getfixturevalue("redis_url")
    else:
        url = url_of(request.param, tmp_path, request)
        with django_db_blocker.unblock(), migrated(url):
            yield url


@pytest.fixture(params=["memory", "redis", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Store]:
    """Give each kind of store, empty."""
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "redis":
        store = RedisStore(request.getfixturevalue("redis_url"), timeout=5.0)
        yield store
        store.close()
    else:
        with django_db_blocker.unblock(), migrated(url_of(request.param, tmp_path, request)) as alias:
            yield DatabaseStore(alias)

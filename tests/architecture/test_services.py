"""The services that the tests rely on: that they answer, and that a missing one cannot pass unseen in CI."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest

from tests import services


def test_redis_is_private_and_empty(redis_url: str) -> None:
    """A test gets a Redis of its own, with nothing in it."""
    redis = pytest.importorskip("redis")
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
    assert urlsplit(redis_url).port != 6379


@pytest.mark.postgres
def test_postgres_database_is_empty() -> None:
    """A test process gets a PostgreSQL database without tables."""
    psycopg = pytest.importorskip("psycopg")
    with services.postgres_database() as url, psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row == (0,)


@pytest.mark.mariadb
def test_mariadb_database_is_empty() -> None:
    """A test process gets a MariaDB database without tables."""
    pymysql = pytest.importorskip("pymysql")
    with services.mariadb_database() as url:
        _assert_no_tables(pymysql, urlsplit(url))


def _assert_no_tables(pymysql: Any, place: SplitResult) -> None:  # noqa: ANN401 - a module without types
    with (
        pymysql.connect(
            host=place.hostname,
            port=place.port or 3306,
            user=place.username,
            password=place.password or "",
            database=place.path.lstrip("/"),
        ) as connection,
        connection.cursor() as cursor,
    ):
        assert cursor.execute("SHOW TABLES") == 0


def test_rabbitmq_takes_a_connection(rabbitmq_url: str) -> None:
    """A test gets a broker that speaks AMQP."""
    assert rabbitmq_url.startswith("amqp://")


@pytest.mark.parametrize("name", ["ROBUST_EMAIL_REQUIRE_SERVICES", "CI"])
def test_a_missing_service_fails_where_services_are_required(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With services required, what would be a skip is a failure that names the service."""
    monkeypatch.delenv("ROBUST_EMAIL_REQUIRE_SERVICES", raising=False)
    monkeypatch.setenv(name, "true")
    with pytest.raises(pytest.fail.Exception, match="Exim is not available: no program exim-that-is-not-there"):
        services.require_program("Exim", "exim-that-is-not-there")


def test_a_missing_service_skips_on_a_developers_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no service required, a missing one skips its tests and says which."""
    monkeypatch.delenv("ROBUST_EMAIL_REQUIRE_SERVICES", raising=False)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Exim is not available"):
        services.require_program("Exim", "exim-that-is-not-there")

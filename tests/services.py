"""Servers that a test needs and that this repository does not ship: found, made private, or reported as missing.

One rule for all of them, kept in :func:`unavailable`: a missing service skips its tests on a developer's machine and
fails them where ``ROBUST_EMAIL_REQUIRE_SERVICES`` or ``CI`` is set. A green run in CI therefore left nothing out.

Redis is started here, on a free port of its own. PostgreSQL, MariaDB and RabbitMQ are taken as they run; the first two
get a database of a random name that is dropped afterwards. Where they are is read from the environment:
``ROBUST_EMAIL_TEST_POSTGRES_URL``, ``ROBUST_EMAIL_TEST_MARIADB_URL``, ``ROBUST_EMAIL_TEST_RABBITMQ_URL``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit, urlunsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POSTGRES_URL = os.environ.get("ROBUST_EMAIL_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
MARIADB_URL = os.environ.get("ROBUST_EMAIL_TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/mysql")
RABBITMQ_URL = os.environ.get("ROBUST_EMAIL_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")


def services_are_required() -> bool:
    """True where a missing service must fail the run instead of shortening it."""
    return any(os.environ.get(name, "") not in {"", "0", "false"} for name in ("ROBUST_EMAIL_REQUIRE_SERVICES", "CI"))


def unavailable(service: str, reason: str) -> NoReturn:
    """Skip the running test because `service` is missing; fail it where services are required."""
    text = f"{service} is not available: {reason}"
    if services_are_required():
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def require_program(service: str, *names: str) -> str:
    """Return the path of the first program of `names` that is installed; otherwise `service` is unavailable."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    for name in names:
        if found := shutil.which(name, path=places):
            return found
    unavailable(service, f"no program {' or '.join(names)}")


def with_database(url: str, name: str) -> str:
    """Return `url` with its path replaced by the database `name`."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def private_redis(folder: Path) -> Iterator[str]:
    """Run a Redis server on 127.0.0.1 that keeps nothing on disk; give its URL."""
    program = require_program("Redis", "redis-server")
    for _attempt in range(20):
        # Redis cannot choose a port itself. A port that is taken makes it exit, and the next one is tried.
        port = 20_000 + secrets.randbelow(12_000)
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
        process = subprocess.Popen([program, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        try:
            if any("Ready to accept connections" in line for line in process.stdout):
                yield f"redis://127.0.0.1:{port}/0"
                return
        finally:
            process.terminate()
            process.wait(timeout=10)
            process.stdout.close()
    unavailable("Redis", "it found no free port in 20 attempts")


@contextmanager
def postgres_database() -> Iterator[str]:
    """Create an empty PostgreSQL database; give its URL; drop it afterwards."""
    psycopg = pytest.importorskip("psycopg")
    name = f"robust_email_{secrets.token_hex(6)}"
    try:
        admin = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        unavailable("PostgreSQL", str(error).strip())
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield with_database(POSTGRES_URL, name)
        finally:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def mariadb_database() -> Iterator[str]:
    """Create an empty MariaDB database; give its URL; drop it afterwards."""
    pymysql = pytest.importorskip("pymysql")
    name = f"robust_email_{secrets.token_hex(6)}"
    place = urlsplit(MARIADB_URL)
    account = {"user": place.username or "root", "password": place.password or ""}
    try:
        admin = pymysql.connect(host=place.hostname, port=place.port or 3306, connect_timeout=5, **account)
    except pymysql.err.OperationalError as error:
        unavailable("MariaDB", str(error))
    with admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        try:
            yield with_database(MARIADB_URL, name)
        finally:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


def rabbitmq_broker() -> str:
    """Return the URL of a RabbitMQ broker that takes connections. It is shared: name your queues at random."""
    kombu = pytest.importorskip("kombu")
    with kombu.Connection(RABBITMQ_URL, connect_timeout=5) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
        except connection.connection_errors as error:
            unavailable("RabbitMQ", repr(error))
    return RABBITMQ_URL

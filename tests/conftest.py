"""Fixtures that every test may use: the services, and the marks that follow from using them.

A test says what it needs by asking for the fixture; the mark (``-m "not postgres"``) is added here.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest
from django.apps import apps
from hypothesis import settings

from tests import services

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = (
    ["tests.servers.fixtures"] if Path(__file__).with_name("servers").joinpath("fixtures.py").is_file() else []
)

# A shared machine may stop for longer than 200 ms at any moment; that is no finding. In CI Hypothesis thinks so itself.
settings.register_profile("patient", deadline=None)
if not services.services_are_required():
    settings.load_profile("patient")

# Django 6.1 warns of EMAIL_* settings and get_connection(), which projects use until 2028, and so do the tests in these
# folders. Its own way is tested beside them (tests/outbox/test_mailers.py).
NOT_YET_MOVED_TO_MAILERS = tuple(Path(__file__).with_name(name) for name in ("governor", "outbox", "suppression"))
LEGACY = (
    r"ignore:The EMAIL_\w+ setting is deprecated",
    r"ignore:.*get_connection\(\).*",
    r"ignore:.*'connection'.*",
    r"ignore:Directly creating EmailBackend instances is deprecated",
)

MARK_OF_FIXTURE = {
    "redis_url": "redis",
    "postgres_url": "postgres",
    "mariadb_url": "mariadb",
    "rabbitmq_url": "rabbitmq",
    "postfix": "postfix",
    "exim": "exim",
}


def pytest_configure(config: pytest.Config) -> None:
    """Load the testing kit's fixtures where the distribution is not installed, and so its entry point says nothing."""
    if not config.pluginmanager.has_plugin("robust_email"):
        config.pluginmanager.register(importlib.import_module("robust_email.testing.pytest_plugin"), "robust_email")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the services whose fixtures it asks for, and let some be projects of before ``MAILERS``."""
    for item in items:
        if django.VERSION >= (6, 1) and any(map(item.path.is_relative_to, NOT_YET_MOVED_TO_MAILERS)):
            for warning in LEGACY:
                item.add_marker(pytest.mark.filterwarnings(warning))
        for fixture in getattr(item, "fixturenames", ()):
            if mark := MARK_OF_FIXTURE.get(fixture):
                item.add_marker(mark)


@pytest.fixture(scope="module", autouse=True)
def suppression_stands_aside(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let suppression hear of refusals in its own tests, pages and shop: it would keep addresses for all others."""
    folders = (Path(__file__).with_name(name) for name in ("suppression", "docs", "service"))
    if any(map(request.path.is_relative_to, folders)) or not apps.is_installed("robust_email.suppression"):
        yield
        return
    from robust_email.outbox import gate
    from robust_email.suppression import receivers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "_guards", [])
        receivers.disconnect()
        yield
        receivers.connect()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a Redis server that belongs to this test process alone."""
    with services.private_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Give the URL of a Redis server that is empty when the test begins."""
    redis = pytest.importorskip("redis")
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Give the URL of a PostgreSQL database made for this test process. Its tables outlive a test: clean your own."""
    with services.postgres_database() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """Give the URL of a MariaDB database made for this test process. Its tables outlive a test: clean your own."""
    with services.mariadb_database() as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """Give the URL of a RabbitMQ broker. It is shared: name queues and exchanges at random."""
    return services.rabbitmq_broker()

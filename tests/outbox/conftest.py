"""Fixtures of the outbox's tests: each database in turn, and a relay that keeps a ledger."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from django.db import connections

from robust_email.outbox import wakeup
from tests.outbox import databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from pytest_django import DjangoDbBlocker, Settings

    from robust_email.testing import ScriptedServer

DATABASES = ("sqlite", "postgres", "mariadb")


@pytest.fixture(scope="session")
def made_databases(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Callable[[str], tuple[str, str]]]:
    """Give a function from a kind of database to its alias and URL, made when first asked for."""
    made: dict[str, tuple[str, str]] = {}

    def make(kind: str) -> tuple[str, str]:
        if kind not in made:
            if kind == "sqlite":
                url = databases.url_of_sqlite(tmp_path_factory.mktemp("outbox"))
            else:
                url = request.getfixturevalue(f"{kind}_url")
            made[kind] = (databases.make_database(f"outbox_{kind}", url), url)
        return made[kind]

    with django_db_blocker.unblock():
        yield make
        for alias, _ in made.values():
            connections[alias].close()
            del connections[alias]
            del connections.databases[alias]


@pytest.fixture(params=DATABASES)
def outbox_url(
    request: pytest.FixtureRequest,
    made_databases: Callable[[str], tuple[str, str]],
    settings: Settings,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[str]:
    """Route the outbox to an empty database of each kind; give its URL."""
    alias, url = made_databases(request.param)
    with django_db_blocker.unblock():
        databases.ToActive.alias = alias
        settings.DATABASE_ROUTERS = ["tests.outbox.databases.ToActive"]
        yield url
        databases.empty(alias)
        connections[alias].close()
        databases.ToActive.alias = None


@pytest.fixture
def relay(outbox_url: str, smtp_server: ScriptedServer, settings: Settings) -> ScriptedServer:
    """Give the SMTP server that the outbox hands over to; mail enters by ``send_mail``."""
    settings.EMAIL_BACKEND = "robust_email.outbox.backend.OutboxEmailBackend"
    settings.EMAIL_HOST = smtp_server.host
    settings.EMAIL_PORT = smtp_server.port
    settings.EMAIL_CONNECTION_RETRY_ATTEMPTS = 1
    settings.EMAIL_TIMEOUT = 5
    return smtp_server


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Celery]:
    """Give a Celery application on each broker, with a queue of its own, as the process that enqueues has it."""
    from tests.outbox.celery_processes import application, queue_call

    app = application(request.getfixturevalue(f"{request.param}_url"))
    app.conf.task_default_queue = f"outbox-{secrets.token_hex(6)}"
    settings.EMAIL_OUTBOX_WAKEUP = "celery"
    wakeup.publisher.forget()
    yield app
    queue_call(app, "queue_delete")
    app.close()

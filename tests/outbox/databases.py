"""The databases that the outbox is tested on: made once, routed to, emptied after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections

if TYPE_CHECKING:
    from pathlib import Path

    from django.db.models import Model

ENGINES = {"postgresql": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}


class ToActive:
    """A database router: the outbox lives where the running test says."""

    alias: str | None = None

    def db_for_read(self, model: type[Model], **_: object) -> str | None:
        """Read there too."""
        return self.db_for_write(model)

    def db_for_write(self, model: type[Model], **_: object) -> str | None:
        """Send the outbox's models to the active database."""
        return ToActive.alias if model._meta.app_label == "robust_email_outbox" else None

    def allow_relation(self, *_: object, **__: object) -> bool:
        """Let objects read here meet."""
        return True


def configuration(url: str) -> dict[str, Any]:
    """Return the entry of DATABASES for a URL."""
    place = urlsplit(url)
    if place.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": place.path,
            "OPTIONS": {"timeout": 20, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"},
        }
    if place.scheme == "mysql":
        pymysql = pytest.importorskip("pymysql")
        pymysql.version_info = (2, 2, 7, "final", 0)
        pymysql.install_as_MySQLdb()
    return {
        "ENGINE": ENGINES[place.scheme],
        "HOST": place.hostname,
        "PORT": place.port or "",
        "NAME": place.path.lstrip("/"),
        "USER": place.username or "",
        "PASSWORD": place.password or "",
    }


def make_database(alias: str, url: str) -> str:
    """Add a database to Django's and create the outbox's tables in it."""
    connections.databases[alias] = connections.configure_settings(
        {"default": connections.databases["default"], alias: configuration(url)}
    )[alias]
    call_command("migrate", "robust_email_outbox", database=alias, verbosity=0)
    return alias


def url_of_sqlite(folder: Path) -> str:
    """Return the URL of a file in a folder."""
    return f"sqlite://{folder}/outbox.sqlite3"


def empty(alias: str) -> None:
    """Remove all rows."""
    for model in reversed(list(apps.get_app_config("robust_email_outbox").get_models())):
        model._base_manager.using(alias).all()._raw_delete(alias)

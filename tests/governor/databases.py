"""Databases with the governor's table."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.management import call_command
from django.db import connections

from robust_email.governor.models import TABLE
from tests.outbox.databases import configuration

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def migrated(url: str) -> Iterator[str]:
    """Add a database to Django's, with the governor's table, empty; give its alias."""
    alias = "governor"
    connections.databases[alias] = connections.configure_settings(
        {"default": connections.databases["default"], alias: configuration(url)}
    )[alias]
    try:
        call_command("migrate", "robust_email_governor", database=alias, verbosity=0)
        with connections[alias].cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE}")  # noqa: S608 - our own table
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]

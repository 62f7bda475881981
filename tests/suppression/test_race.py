"""Two who note the same thing at the same time, on databases that are not in memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.db import connections

from robust_email.suppression.models import Effect, Source, SuppressedAddress, SuppressionEvidence
from robust_email.suppression.services import Evidence, note
from tests.outbox.databases import configuration, url_of_sqlite
from tests.suppression.letters import ANN, OURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.db.models import Model
    from pytest_django import DjangoDbBlocker, Settings

ALIAS, APP = "suppression", "robust_email_suppression"


class ToAlias:
    """A database router: the list of the suppressed has a database of its own."""

    def db_for_read(self, model: type[Model], **_: object) -> str | None:
        """Read there too."""
        return self.db_for_write(model)

    def db_for_write(self, model: type[Model], **_: object) -> str | None:
        """Send this app's models there."""
        return ALIAS if model._meta.app_label == APP else None


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def own_database(
    request: pytest.FixtureRequest, tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Give the app a database of its own, of each kind, with empty tables."""
    url = url_of_sqlite(tmp_path) if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    default = connections.databases["default"]
    made = connections.configure_settings({"default": default, ALIAS: configuration(url)})
    connections.databases[ALIAS] = made[ALIAS]
    settings.DATABASE_ROUTERS = [ToAlias()]
    with django_db_blocker.unblock():
        call_command("migrate", APP, database=ALIAS, verbosity=0)
        yield
        call_command("migrate", APP, "zero", database=ALIAS, verbosity=0)
        connections[ALIAS].close()
    del connections[ALIAS]
    del connections.databases[ALIAS]


def at_once(*evidence: Evidence) -> list[Effect]:
    """Note all of these in threads of their own that begin together."""
    barrier = threading.Barrier(len(evidence))
    effects: list[Effect] = []

    def work(each: Evidence) -> None:
        barrier.wait(5)
        effects.append(note(each))
        connections[ALIAS].close()

    threads = [threading.Thread(target=work, args=(each,)) for each in evidence]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return effects


def test_the_same_report_in_two_workers(own_database: None) -> None:
    """Read by four at once, a report is one suppression and one piece of evidence, and nobody fails."""
    same = Evidence(address=ANN, source=Source.REPORT, status="5.1.1", message_id=OURS)
    assert at_once(same, same, same, same) == [Effect.SUPPRESSED] * 4
    assert (SuppressedAddress.objects.count(), SuppressionEvidence.objects.count()) == (1, 1)


def test_two_reports_about_one_address(own_database: None) -> None:
    """Two reports at once are one suppression for the longer term, and two pieces of evidence."""
    short = Evidence(address=ANN, source=Source.REPORT, status="5.1.2", message_id=OURS)
    complaint = Evidence(address=ANN, source=Source.FEEDBACK, message_id=OURS)
    assert at_once(short, complaint) == [Effect.SUPPRESSED] * 2
    assert SuppressedAddress.objects.get().expires_at is None
    assert SuppressionEvidence.objects.count() == 2

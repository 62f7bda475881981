"""The purge: what is over goes in time, and what something depends on stays."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, connections
from django.utils import timezone

from robust_email.suppression import bounce_address, process_bounce, retention
from robust_email.suppression.addresses import digest_of
from robust_email.suppression.conf import suppression_settings
from robust_email.suppression.models import Effect, Reason, Source, SuppressedAddress, SuppressionEvidence
from robust_email.suppression.retention import Purged, purge
from robust_email.suppression.selectors import is_suppressed
from robust_email.suppression.services import BounceOutcome, Evidence, lift, note
from robust_email.suppression.tasks import BEAT_SCHEDULE
from robust_email.suppression.tasks import purge as purge_task
from tests.suppression.conftest import ALIAS
from tests.suppression.letters import ANN, OURS, bounce

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.outbox.models import OutboxMessage

    Mailed = Callable[..., OutboxMessage]


def listed(*ends: float | None, using: str = "default") -> list[SuppressedAddress]:
    """Put addresses on the list whose terms end so many days from now."""
    now = timezone.now()
    return SuppressedAddress.objects.using(using).bulk_create(
        SuppressedAddress(
            digest=digest_of(f"user{number}@example.net"),
            address=f"user{number}@example.net",
            reason=Reason.REFUSED,
            source=Source.RELAY,
            created_at=now - timedelta(days=400),
            expires_at=None if end is None else now + timedelta(days=end),
        )
        for number, end in enumerate(ends)
    )


def said(days_ago: float, *numbers: int, message_id: str = "", using: str = "default") -> None:
    """Add evidence of that age about these addresses of the list."""
    SuppressionEvidence.objects.using(using).bulk_create(
        SuppressionEvidence(
            fingerprint=f"{number} {days_ago} {message_id}",
            digest=digest_of(f"user{number}@example.net"),
            noted_at=timezone.now() - timedelta(days=days_ago),
            source=Source.RELAY,
            effect=Effect.SUPPRESSED,
            status="5.1.1",
            message_id=message_id,
        )
        for number in numbers
    )


def run(*arguments: str) -> str:
    """Run the command; return what it said, in one line."""
    out = StringIO()
    call_command("suppression_purge", *arguments, stdout=out)
    return " ".join(out.getvalue().split())


@pytest.mark.django_db
def test_what_is_over_goes_in_time() -> None:
    """A suppression goes 30 days after its end; one that runs, has just ended, or is for ever stays."""
    rows = listed(-31, -29, 1, None)
    assert run("--dry-run") == "suppressions 1 would be removed evidence 0 would be removed"
    assert SuppressedAddress.objects.count() == 4
    assert run() == "suppressions 1 removed evidence 0 removed"
    assert [*SuppressedAddress.objects.order_by("pk")] == rows[1:]


@pytest.mark.django_db
def test_evidence_goes_with_what_it_is_about() -> None:
    """Old evidence goes, but not that of an address on the list; a dry run counts what a run removes."""
    listed(-31, -29, 1, None)
    said(366, 0, 1, 2, 3, 4)
    said(364, 0, 4)
    assert purge(dry_run=True) == purge() == Purged(1, 2)
    left = [(each.digest, each.fingerprint.split()[1]) for each in SuppressionEvidence.objects.all()]
    assert left == [
        *((digest_of(f"user{number}@example.net"), "366") for number in (1, 2, 3)),
        *((digest_of(f"user{number}@example.net"), "364") for number in (0, 4)),
    ]
    assert purge() == Purged()


def test_evidence_of_a_mail_that_is_kept_stays(mailed: Mailed) -> None:
    """While the outbox has the mail, its bounce would be believed: read once more, it brings no lifted one back."""
    row = mailed(ANN)
    process_bounce(bounce())
    lift(SuppressedAddress.objects.get())
    SuppressionEvidence.objects.all()._raw_delete("default")
    said(1_000, 7, message_id=OURS)
    said(1_000, 8, message_id="<of.another@shop.example>")
    assert purge() == Purged(0, 1)
    assert SuppressionEvidence.objects.get().message_id == OURS
    row.delete()
    assert purge() == Purged(0, 1)


@pytest.mark.django_db
def test_evidence_outlives_a_token(settings: Settings) -> None:
    """However short evidence is to be kept, a bounce that a token proves is no new one while the token is believed."""
    settings.EMAIL_SUPPRESSION_RETURN_PATH = "bounces@shop.example"
    settings.EMAIL_SUPPRESSION_RETENTION = {"evidence": 0, "suppressions": 0}
    raw = bounce(message_id="", to=bounce_address(ANN))
    process_bounce(raw)
    lift(SuppressedAddress.objects.get())
    assert purge() == Purged()
    assert process_bounce(raw).outcome is BounceOutcome.SUPPRESSED
    assert not is_suppressed(ANN)


@pytest.mark.django_db
def test_what_is_kept_for_ever(settings: Settings) -> None:
    """None keeps; the other one keeps its default."""
    listed(-4_000)
    said(4_000, 1)
    settings.EMAIL_SUPPRESSION_RETENTION = {"suppressions": None, "evidence": None}
    assert purge() == Purged()
    settings.EMAIL_SUPPRESSION_RETENTION = {"suppressions": None}
    assert purge() == Purged(0, 1)
    settings.EMAIL_SUPPRESSION_RETENTION = {}
    assert purge() == Purged(1, 0)


@pytest.mark.parametrize("value", [30, {"rows": 3}, {"evidence": -1}, {"suppressions": "soon"}])
def test_a_wrong_retention_is_named(settings: Settings, value: object) -> None:
    """What cannot be meant is refused with the setting's name."""
    settings.EMAIL_SUPPRESSION_RETENTION = value
    with pytest.raises(ImproperlyConfigured, match="EMAIL_SUPPRESSION_RETENTION must be"):
        suppression_settings()


@pytest.mark.django_db
def test_it_is_a_task() -> None:
    """Celery's beat runs it once a day, by the name in the schedule."""
    listed(-31)
    assert purge_task.apply().get() == {"status": "success", "suppressions": 1, "evidence": 0}
    [entry] = BEAT_SCHEDULE.values()
    assert (entry["task"], entry["schedule"]) == (purge_task.name, 86_400)


# -- on each database


def test_chunk_by_chunk(own_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many rows go in statements that each remove a few; kept ones in between are passed over, once."""
    monkeypatch.setattr(retention, "CHUNK", 3)
    listed(*[-31, 1] * 6, using=ALIAS)
    said(366, *range(12), using=ALIAS)
    removed: list[int] = []

    def count(execute: Callable[..., object], sql: str, params: tuple[object, ...], *rest: object) -> object:
        if sql.startswith("DELETE"):
            removed.append(sum(isinstance(each, int) for each in params))
        return execute(sql, params, *rest)

    with connections[ALIAS].execute_wrapper(count):
        assert purge() == Purged(6, 6)
    assert max(removed) <= 3
    assert SuppressedAddress.objects.count() == SuppressionEvidence.objects.count() == 6


def test_a_database_that_fails_half_way(own_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was removed stays removed, and the next run removes the rest."""
    monkeypatch.setattr(retention, "CHUNK", 2)
    listed(*[-31] * 5, using=ALIAS)
    said(366, *range(5), using=ALIAS)
    faults = [None, None, None, OperationalError("the database is away")]

    def fail(execute: Callable[..., object], sql: str, *rest: object) -> object:
        if sql.startswith("DELETE") and faults and (fault := faults.pop(0)):
            raise fault
        return execute(sql, *rest)

    with connections[ALIAS].execute_wrapper(fail):
        with pytest.raises(OperationalError):
            purge()
        assert (SuppressedAddress.objects.count(), SuppressionEvidence.objects.count()) == (0, 5)
        assert purge() == Purged(0, 5)


def test_an_address_that_is_refused_again_meanwhile_stays(own_database: None) -> None:
    """A term that begins anew between the look and the removal is not removed."""
    [row] = listed(-31, using=ALIAS)
    again = [Evidence(address=row.address, source=Source.RELAY, status="5.1.1", message_id=OURS)]

    def refuse(execute: Callable[..., object], sql: str, *rest: object) -> object:
        if sql.startswith("DELETE") and again:
            note(again.pop())
        return execute(sql, *rest)

    with connections[ALIAS].execute_wrapper(refuse):
        assert purge() == Purged()
    assert is_suppressed(row.address)

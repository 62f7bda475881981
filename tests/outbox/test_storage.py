"""Files of large bodies: none is left for ever, and none that a row names is touched."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.db import connections, transaction

from robust_email.outbox import enqueue
from robust_email.outbox.database import database
from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.services.tidying import remove_forgotten_files
from robust_email.outbox.storage import content_of
from tests.outbox.databases import ToActive, make_database, url_of_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import Settings

pytestmark = pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Settings) -> Path:
    """Keep every body in a file; give the folder of the storage."""
    location = tmp_path / "bodies"
    settings.STORAGES = {
        "mail": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(location)}}
    }
    settings.EMAIL_OUTBOX_STORAGE, settings.EMAIL_OUTBOX_STORAGE_THRESHOLD = "mail", 1
    return location


def in_three_days() -> datetime:
    """Be late."""
    return datetime.now(UTC) + timedelta(days=3)


def files(folder: Path) -> list[Path]:
    """Return them."""
    return list(folder.rglob("*.eml"))


def rolled_back() -> None:
    """Enqueue a mail in a transaction that comes to nothing."""
    with transaction.atomic(using=database()):
        enqueue(EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"]))
        transaction.set_rollback(True, using=database())


def purge(*arguments: str) -> str:
    """Call the command; return what it prints."""
    out = io.StringIO()
    call_command("outbox_purge", *arguments, stdout=out)
    return out.getvalue()


def test_a_rollback_leaves_no_file_for_ever(outbox_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a mail that never was goes a day later; not before, since its transaction may still be open."""
    rolled_back()
    assert "left over" not in purge()
    [file] = files(folder)
    file.unlink()
    three_days_ago = time.time_ns() - 3 * 86_400 * 10**9
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: three_days_ago)
        rolled_back()
    assert "left over         1 would be removed" in purge("--dry-run")
    assert len(files(folder)) == 1
    assert "left over         1 removed" in purge()
    assert files(folder) == []


def test_what_a_row_names_stays(outbox_url: str, folder: Path) -> None:
    """However old it is; and so does what the outbox has not written. The folder of a day goes with its last file."""
    row = enqueue(EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"]))
    rolled_back()
    [day] = (folder / "outbox").iterdir()
    (day / "notes.txt").write_text("not ours")
    assert remove_forgotten_files(clock=in_three_days, dry_run=True) == 1
    assert remove_forgotten_files(clock=in_three_days) == 1
    assert content_of(OutboxMessage.objects.get(pk=row.pk))
    (day / "notes.txt").unlink()
    OutboxMessage.objects.update(content_name="")
    assert remove_forgotten_files(clock=in_three_days) == 1
    assert not day.exists()


def test_a_name_that_the_storage_changed_is_known(outbox_url: str, folder: Path) -> None:
    """Django's storages put letters of their own behind a name that is taken."""
    row = enqueue(EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"]))
    name = row.content_name.replace(".eml", "_aB3dE7x.eml")
    (folder / row.content_name).rename(folder / name)
    OutboxMessage.objects.update(content_name=name)
    rolled_back()
    assert remove_forgotten_files(clock=in_three_days) == 1
    assert content_of(OutboxMessage.objects.get(pk=row.pk))


def test_what_another_project_wrote_stays(outbox_url: str, folder: Path, settings: Settings) -> None:
    """It shares the folder and has its own secret: its files are not ours, until its secret is one of our former."""
    ours, settings.SECRET_KEY = settings.SECRET_KEY, "the other's"
    rolled_back()
    settings.SECRET_KEY = ours
    rolled_back()
    assert remove_forgotten_files(clock=in_three_days) == 1
    assert remove_forgotten_files(clock=in_three_days) == 0
    assert len(files(folder)) == 1
    settings.SECRET_KEY_FALLBACKS = ["the other's"]
    assert remove_forgotten_files(clock=in_three_days) == 1


def test_what_another_database_names_stays(
    outbox_url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One project with a database for each customer may keep all their bodies in one folder."""
    other = make_database("outbox_other", url_of_sqlite(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(ToActive, "alias", other)
        row = enqueue(EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"]))
    assert remove_forgotten_files(clock=in_three_days) == 0
    assert files(folder) == [folder / row.content_name]
    with monkeypatch.context() as patch:
        patch.setattr(ToActive, "alias", other)
        OutboxMessage.objects.all().delete()
        assert remove_forgotten_files(clock=in_three_days) == 1
    connections[other].close()
    del connections[other]
    del connections.databases[other]


def test_without_files_there_is_nothing_to_do(outbox_url: str, settings: Settings) -> None:
    """Neither where none was ever written, nor where no storage is set."""
    assert remove_forgotten_files() == 0
    settings.EMAIL_OUTBOX_STORAGE = None
    assert remove_forgotten_files() == 0

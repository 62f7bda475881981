"""Where the octets of a mail are: in its row, or, from a size on, in one of the project's storages.

A file is written before its row is committed and removed after the row let go of it: at worst a file is left over, and
never a row without its octets; ``services.tidying`` removes those. The octets are what was rendered at the enqueue,
and are never serialised again.

``outbox/`` in that storage is this outbox's own: a folder for each day, since a storage lists a folder as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.core.files.base import ContentFile
from django.core.files.storage import storages

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.identifiers import made_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.core.files.storage import Storage

    from robust_email.outbox.models import OutboxMessage


FOLDER: Final = "outbox"


class ContentMissing(Exception):
    """The octets are gone: scrubbed, or the file was removed by somebody else."""


def keep_content(row: OutboxMessage, content: bytes) -> None:
    """Give a new row its octets."""
    settings = outbox_settings()
    row.content_size = len(content)
    if settings.storage and len(content) >= settings.storage_threshold:
        row.content_name = _storage().save(_name(row.pk), ContentFile(content))
    else:
        row.content = content


def content_of(row: OutboxMessage) -> bytes:
    """Return the octets.

    Raises:
        ContentMissing: there are none.
    """
    if row.content is not None:
        return bytes(row.content)
    if not row.content_name:
        raise ContentMissing("the body was removed")
    try:
        with _storage().open(row.content_name, "rb") as file:
            content = bytes(file.read())
    except FileNotFoundError as exc:
        raise ContentMissing(f"the storage has no {row.content_name}") from exc
    if len(content) != row.content_size:
        raise ContentMissing(f"{row.content_name} has {len(content)} octets and not {row.content_size}")
    return content


def remove_files(names: Iterable[str]) -> None:
    """Remove files that no row names any more."""
    for name in names:
        if name:
            _storage().delete(name)


def days() -> list[str]:
    """Return the folders of the days of which there may be files; none where no storage is set, or it lists nothing."""
    return [] if outbox_settings().storage is None else _listed(FOLDER)[0]


def files_of(day: str) -> list[str]:
    """Return the names of a day's files, as rows have them."""
    return [f"{FOLDER}/{day}/{file}" for file in _listed(f"{FOLDER}/{day}")[1]]


def remove_day(day: str) -> None:
    """Remove the folder of a day that has no files left; where a folder is a prefix of names, nothing is there."""
    if _listed(f"{FOLDER}/{day}") == ([], []):
        _storage().delete(f"{FOLDER}/{day}")


def _listed(folder: str) -> tuple[list[str], list[str]]:
    try:
        folders, files = _storage().listdir(folder)
    except (FileNotFoundError, NotImplementedError):
        return [], []
    return folders, files


def _name(pk: UUID) -> str:
    return f"{FOLDER}/{made_at(pk).date()}/{pk}.eml"


def _storage() -> Storage:
    alias = outbox_settings().storage
    if alias is None:
        raise ContentMissing("EMAIL_OUTBOX_STORAGE is not set any more, and the body is in a file")
    return storages[alias]

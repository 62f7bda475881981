"""Where the octets of a mail are: in its row, or, from a size on, in one of the project's storages.

A file is written before its row is committed and removed after the row let go of it: at worst a file is left over, and
never a row without its octets; ``services.tidying`` removes those. The octets are what was rendered at the enqueue,
and are never serialised again.

``outbox/`` in that storage has a folder for each day, since a storage lists a folder as a whole. Several outboxes may
share it: a file's name is signed with ``SECRET_KEY`` for the database that holds its row, and who finds a file that
no row names can tell whether it was his.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.signing import BadSignature, Signer
from django.db import connections

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import database
from robust_email.outbox.identifiers import made_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.files.storage import Storage

    from robust_email.outbox.models import OutboxMessage


FOLDER: Final = "outbox"
_FILE: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([\w-]{43})[^/]*\.eml$", re.ASCII)
"""A storage may put something of its own before the extension, where a name is taken."""


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


def own_key(name: str) -> UUID | None:
    """Return the key of the row that this outbox wrote a file for; None for a file that it has not written.

    Also None where the database was renamed meanwhile, or the ``SECRET_KEY`` of then is not among the fallbacks: better
    that a file is left over than that one of another outbox goes.
    """
    found = _FILE.search(name)
    if found is None:
        return None
    try:
        _signer().unsign(f"{_signed(found[1])}:{found[2]}")
    except BadSignature:
        return None
    return UUID(found[1])


def _name(pk: UUID) -> str:
    return f"{FOLDER}/{made_at(pk).date()}/{pk}-{_signer().signature(_signed(str(pk)))}.eml"


def _signed(pk: str) -> str:
    return f"{pk} {connections[database()].settings_dict['NAME']}"


def _signer() -> Signer:
    return Signer(salt="robust_email.outbox.storage", algorithm="sha256")


def _storage() -> Storage:
    alias = outbox_settings().storage
    if alias is None:
        raise ContentMissing("EMAIL_OUTBOX_STORAGE is not set any more, and the body is in a file")
    return storages[alias]

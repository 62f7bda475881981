"""Mailboxes that bounces come to: a Maildir, or a folder at an IMAP server; each mail is handed on until it is done.

A mail is marked after it was dealt with, not before: who is killed in between reads it once more, and evidence that is
there already changes nothing.
"""

from __future__ import annotations

import imaplib
import logging
import os
import re
import ssl
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from robust_email.suppression.reports import MAX_OCTETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Deal = Callable[[bytes], object]
"""What is done with a mail. If it raises, the mail stays as it was; with ``LeftAside`` the others have their turn."""

_logger: Final = logging.getLogger("robust_email.suppression")
_UIDS: Final = re.compile(rb"[0-9 ]*")


class LeftAside(Exception):
    """Raised by a ``Deal``: this mail could not be dealt with, which says nothing about those behind it."""


class MailboxUnavailable(Exception):
    """It cannot be opened or read; the text says why, without the password."""


def read_maildir(path: Path, deal: Deal) -> int:
    """Deal with each mail in ``new``, and move it to ``cur`` as seen; returns how many. Others may read it too.

    Raises:
        MailboxUnavailable: there is no Maildir, or a mail in it cannot be read or moved.
    """
    fresh, seen = path / "new", path / "cur"
    if not (fresh.is_dir() and seen.is_dir()):
        raise MailboxUnavailable("This is no Maildir: it has no new and cur.")
    count = 0
    for name in sorted(os.listdir(fresh)):  # noqa: PTH208 - the names alone, before any is moved
        raw = _octets(fresh / name)
        if raw is None or not _is_dealt_with(raw, deal, name):
            continue
        count += 1
        with _naming(name), suppress(FileNotFoundError):  # another reader was as fast
            (fresh / name).rename(seen / f"{name.partition(':')[0]}:2,S")
    return count


def _is_dealt_with(raw: bytes, deal: Deal, name: str) -> bool:
    try:
        deal(raw)
    except LeftAside as exc:
        reason = exc.__cause__
        _logger.error("Mail %s could not be dealt with, and stays unread", name, exc_info=reason)  # noqa: TRY400 - its cause says why
        return False
    return True


def _octets(path: Path) -> bytes | None:
    """Return a mail's, or None if another reader was faster, or if it is no mail: a pipe would be waited for."""
    with _naming(path.name), suppress(FileNotFoundError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(MAX_OCTETS)
    return None


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise MailboxUnavailable(f"{name}: {exc.strerror or type(exc).__name__}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapAccount:
    """A folder at an IMAP server, over TLS from the first octet. ``timeout`` is in seconds, per step."""

    host: str
    port: int = 993
    user: str
    password: str = field(repr=False)
    folder: str = "INBOX"
    cafile: str | None = None
    timeout: float = 30.0


def read_imap(account: ImapAccount, deal: Deal) -> int:
    """Deal with each unseen mail, and flag it as seen; returns how many.

    Raises:
        MailboxUnavailable: the server cannot be reached, its certificate is wrong, or it refuses.
    """
    try:
        with _logged_in(account) as session:
            return _read_unseen(session, account.folder, deal)
    except (imaplib.IMAP4.error, OSError) as exc:
        text = str(exc).replace(account.password, "***") if account.password else str(exc)
        raise MailboxUnavailable(f"{account.host}:{account.port}: {text or type(exc).__name__}") from exc


@contextmanager
def _logged_in(account: ImapAccount) -> Iterator[imaplib.IMAP4_SSL]:
    context = ssl.create_default_context(cafile=account.cafile)
    with imaplib.IMAP4_SSL(account.host, account.port, ssl_context=context, timeout=account.timeout) as session:
        session.login(account.user, account.password)
        yield session


def _read_unseen(session: imaplib.IMAP4_SSL, folder: str, deal: Deal) -> int:
    quoted = folder.replace("\\", "\\\\").replace('"', '\\"')
    _expect_ok(session.select(f'"{quoted}"'))
    [found] = _expect_ok(session.uid("SEARCH", "UNSEEN"))[:1] or [b""]
    uids = found.split() if isinstance(found, bytes) and _UIDS.fullmatch(found) else []
    count = 0
    for uid in uids:
        # PEEK: the mail stays unseen until it was dealt with. Of an enormous one the front is enough.
        answer = _expect_ok(session.uid("FETCH", uid.decode(), f"(BODY.PEEK[]<0.{MAX_OCTETS}>)"))
        raw = next((part[1] for part in answer if isinstance(part, tuple)), None)
        if raw is None or not _is_dealt_with(raw, deal, f"UID {uid.decode()}"):
            continue  # it was removed meanwhile, or is for a later run
        count += 1
        _expect_ok(session.uid("STORE", uid.decode(), "+FLAGS.SILENT", r"(\Seen)"))
    return count


def _expect_ok(answer: tuple[str, Sequence[object]]) -> Sequence[object]:
    status, data = answer
    if status != "OK":
        raise imaplib.IMAP4.error(f"the server said {status}: {data[0]!r}" if data else f"the server said {status}")
    return data

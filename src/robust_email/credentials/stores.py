"""Stores of tokens: this process's memory, and a folder that the processes of one machine share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robust_email.credentials.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL: Final = 0.05
"""Seconds between two looks at a lock that somebody else has."""

_tokens: Final[dict[str, Token]] = {}


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """This process alone. Each worker then has a token of its own, which every server that grants them allows."""

    def load(self, key: str) -> Token | None:
        """Return the token."""
        return _tokens.get(key)

    def save(self, key: str, token: Token) -> None:
        """Keep the token."""
        _tokens[key] = token

    def exclusive(self, key: str, seconds: float) -> contextlib.AbstractContextManager[bool]:  # noqa: ARG002 - see below
        """Whoever renews has the process's own lock already."""
        return contextlib.nullcontext(enter_result=True)


@dataclass(frozen=True, slots=True)
class FileStore:
    """A folder, made with mode 0700, with a file of mode 0600 for each account; ``flock`` keeps others out.

    Where there is no ``fcntl`` (Windows), two processes may renew at the same time.
    """

    folder: str

    def load(self, key: str) -> Token | None:
        """Return the token; None if there is no file yet."""
        try:
            return Token.from_json(self._path(key, "json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def save(self, key: str, token: Token) -> None:
        """Replace the file as a whole: a reader sees the old token or the new one."""
        self._make_folder()
        replace_file(self._path(key, "json"), token.to_json())

    @contextlib.contextmanager
    def exclusive(self, key: str, seconds: float) -> Iterator[bool]:
        """Hold the account's lock file; the system lets go of it if this process dies."""
        try:
            import fcntl
        except ImportError:
            yield True
            return
        self._make_folder()
        until = time.monotonic() + seconds
        descriptor = os.open(self._path(key, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= until:
                        yield False
                        return
                    time.sleep(POLL)
                else:
                    yield True
                    return
        finally:
            os.close(descriptor)

    def _make_folder(self) -> None:
        Path(self.folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, key: str, kind: str) -> Path:
        return Path(self.folder, f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.{kind}")


def replace_file(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step. Raises ``OSError``."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise

"""Credentials from a file, the environment or a function, read again whenever a session is opened.

===============================  =====================================================================================
``EMAIL_CREDENTIALS``            is
===============================  =====================================================================================
``"/run/secrets/smtp"``          a file: the password alone, or a JSON object with ``username`` and ``password``
``"env:SMTP_PASSWORD"``          a variable of the environment with the password
``"env:SMTP_USER,SMTP_PASSWORD"``  two of them
a function, or its dotted path   returns the password, a pair, a mapping, or ``Credentials``; called without arguments
===============================  =====================================================================================

Where one gives no user name, it is ``EMAIL_HOST_USER``. Sessions of an earlier password end before their next mail.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robust_email.smtp import Credentials, CredentialsUnavailable

if TYPE_CHECKING:
    from robust_email.smtp import CredentialsProvider

ENVIRONMENT: Final = "env:"
FILE: Final = "file:"

Function = Callable[[], object]


def is_place(value: str) -> bool:
    """Tell whether a text names a file or the environment; anything else is a dotted path."""
    return value.startswith((ENVIRONMENT, FILE)) or Path(value).is_absolute()


def provider_of(value: str | Function, username: str) -> CredentialsProvider:
    """Return the provider that ``EMAIL_CREDENTIALS`` describes; nothing is read. ``username`` is the fallback.

    Raises ``ValueError`` for a text that is neither of the two kinds of place.
    """
    if not isinstance(value, str):
        return FunctionCredentials(value, username)
    if value.startswith(ENVIRONMENT):
        names = [name.strip() for name in value.removeprefix(ENVIRONMENT).split(",")]
        if not all(names) or len(names) not in {1, 2}:
            raise ValueError("env: and the name of one variable (the password) or two (user name, password)")
        return EnvironmentCredentials(names[-1], names[0] if len(names) == 2 else "", username)  # noqa: PLR2004 - one or two
    if not is_place(value):
        raise ValueError("an absolute path, env:NAME, a function or its dotted path")
    return FileCredentials(value.removeprefix(FILE), username)


class _ReadAnew(ABC):
    """What is so cheap to read that it is simply read again to learn of a change."""

    __slots__ = ()

    @abstractmethod
    def credentials(self, seconds: float) -> Credentials:
        """Read it. Raises ``CredentialsUnavailable``."""

    def refused(self, credentials: Credentials) -> bool:
        """Look whether there are others meanwhile."""
        return not self.still_good(credentials)

    def still_good(self, credentials: Credentials) -> bool:
        """Compare; what is missing at this moment may just be being replaced."""
        try:
            return self.credentials(0.0) == credentials
        except CredentialsUnavailable:
            return True


@dataclass(frozen=True, slots=True)
class FileCredentials(_ReadAnew):
    """A file that somebody else replaces: a mounted secret, an agent's output. One ``stat`` tells of a change."""

    path: str
    username: str = ""

    def credentials(self, seconds: float) -> Credentials:  # noqa: ARG002 - a local file is there or not
        """Read the file. Raises ``CredentialsUnavailable``."""
        try:
            return _parsed(self._content(), self.username, f"the file {self.path}")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            raise CredentialsUnavailable(f"the file {self.path} cannot be read: {reason}", permanent=True) from exc

    def _content(self) -> str:
        status = Path(self.path).stat()
        return _read(self.path, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=128)
def _read(path: str, version: object) -> str:  # noqa: ARG001 - it makes the cache notice a new file
    return Path(path).read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class EnvironmentCredentials(_ReadAnew):
    """Variables of this process's environment, which an agent inside it may change."""

    password_variable: str
    username_variable: str = ""
    username: str = ""

    def credentials(self, seconds: float) -> Credentials:  # noqa: ARG002 - it is there or not
        """Read the variables. Raises ``CredentialsUnavailable``, naming the one that is missing."""
        username = os.environ.get(self.username_variable, "") if self.username_variable else self.username
        password = os.environ.get(self.password_variable, "")
        if not password or not username:
            missing = self.username_variable or "EMAIL_HOST_USER" if password else self.password_variable
            raise CredentialsUnavailable(f"{missing} is not set", permanent=True)
        return Credentials(username, password)


class FunctionCredentials:
    """A function of the project's: a secret manager's client, say. Let it cache; it is called for each session.

    What it gave last is what is good: sessions opened with something else end.
    """

    def __init__(self, function: Function, username: str = "", *, gives_token: bool = False) -> None:
        """``gives_token``: what it returns alone is an access token and no password."""
        self._identity = (function, username, gives_token)
        self._last: Credentials | None = None

    def credentials(self, seconds: float) -> Credentials:  # noqa: ARG002 - the function knows its own patience
        """Call the function. Raises what it raises, and ``CredentialsUnavailable`` for what is no credentials."""
        function, username, gives_token = self._identity
        given = function()
        if gives_token and isinstance(given, str):
            found = Credentials(username, access_token=given)
        else:
            found = _completed(given, username, "the function in EMAIL_CREDENTIALS")
        self._last = found
        return found

    def refused(self, credentials: Credentials) -> bool:
        """Call it once more, and see whether it gives something else by now."""
        try:
            return self.credentials(0.0) != credentials
        except Exception:  # noqa: BLE001 - the opening that follows asks again and reports it
            return False

    def still_good(self, credentials: Credentials) -> bool:
        """Compare with what it gave last; the function is not called for this. A token may change without harm."""
        return self._last is None or self._last == credentials or credentials.access_token is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionCredentials) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def _parsed(text: str, username: str, where: str) -> Credentials:
    if not text.lstrip().startswith("{"):
        return _completed(text.rstrip("\r\n"), username, where)
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise CredentialsUnavailable(f"{where} begins like JSON and is none", permanent=True) from exc
    return _completed(found, username, where)


def _completed(given: object, username: str, where: str) -> Credentials:
    """Make credentials of what was found."""
    match given:
        case Credentials():
            found = given if given.username else replace(given, username=username)
        case str(password):
            found = Credentials(username, password)
        case (str(name), str(password)):
            found = Credentials(name, password)
        case Mapping():
            found = Credentials(str(given.get("username") or username), str(given.get("password") or ""))
        case _:
            text = f"{where} gives {type(given).__name__} instead of a password, a pair or a mapping"
            raise CredentialsUnavailable(text, permanent=True)
    if not found.username or not (found.password or found.access_token):
        missing = "password" if found.username else "user name"
        raise CredentialsUnavailable(f"{where} gives no {missing}", permanent=True)
    return found

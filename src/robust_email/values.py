"""From what settings modules, environment variables and key-value stores hold to typed values.

A project may give ``587`` or ``"587"``, ``True`` or ``"true"``; an empty string is a field nobody filled in. Each
reader returns the value, or ``None`` where nothing was given, and raises ``ValueError`` whose text completes the
sentence "EMAIL_X must be ...". No text holds the value of a secret.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from django.utils.functional import Promise

from robust_email.providers import find_provider
from robust_email.smtp import ConfigurationError, Proxy
from robust_email.smtp.governor import Rate

T = TypeVar("T")
Reader = Callable[[object], T | None]

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0", ""})


def boolean(value: object) -> bool | None:
    """Read a switch. ``""`` is off, as Django takes it; other strings must say so in words or as 0 and 1."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value in {0, 1}:
        return bool(value)
    if isinstance(value, (str, Promise)):
        word = str(value).strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise ValueError(f"True or False, not {value!r}")


def whole(minimum: int, maximum: int | None = None) -> Reader[int]:
    """Read a whole number between two bounds, both allowed."""
    wanted = f"a whole number of at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"

    def read(value: object) -> int | None:
        number = _number(value, wanted)
        if number is None:
            return None
        if number != int(number) or number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"{wanted}, not {value!r}")
        return int(number)

    return read


def seconds(*, zero: bool = False) -> Reader[float]:
    """Read a duration in seconds; more than zero, or zero too where that makes sense."""
    wanted = "a number of seconds, zero or more" if zero else "a number of seconds above zero"

    def read(value: object) -> float | None:
        number = _number(value, wanted)
        if number is not None and (number < 0 or (number == 0 and not zero)):
            raise ValueError(f"{wanted}, not {value!r}")
        return number

    return read


def text(value: object) -> str | None:
    """Read a string, lazy ones too; an empty one is nothing."""
    if value is None:
        return None
    if isinstance(value, (str, Promise)):
        return str(value) or None
    raise ValueError(f"a string, not {type(value).__name__}")


def path(value: object) -> str | None:
    """Read the path of a file; it is not opened here."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    return text(value)


def texts(value: object) -> tuple[str, ...] | None:
    """Read strings or paths: a list of them, or one string with commas between."""
    if isinstance(value, (str, Promise)):
        return tuple(part for part in map(str.strip, str(value).split(",")) if part)
    parts = [value] if isinstance(value, os.PathLike) else value
    if parts is None:
        return None
    if not isinstance(parts, Iterable) or not all(isinstance(part, (str, Promise, os.PathLike)) for part in parts):
        raise ValueError(f"a string or a list of strings, not {value!r}")
    return tuple(found for found in map(path, parts) if found)


def words(value: object) -> tuple[str, ...] | None:
    """Read names in capitals: a list of them, or one string with commas or spaces between."""
    if value is None:
        return None
    if isinstance(value, (str, Promise)):
        return tuple(str(value).replace(",", " ").upper().split())
    if isinstance(value, Iterable):
        found = tuple(value)
        if all(isinstance(word, str) for word in found):
            return tuple(str(word).upper() for word in found)
    raise ValueError(f"a list of names, not {value!r}")


def one_of(*choices: str) -> Reader[str]:
    """Read one word of a few."""

    def read(value: object) -> str | None:
        word = text(value)
        if word is None or word.lower() in choices:
            return word and word.lower()
        raise ValueError(f"one of {', '.join(map(repr, choices))}, not {value!r}")

    return read


def token(value: object) -> str | Callable[[], str] | None:
    """Read an OAuth access token, or whatever gives one when called."""
    return value if callable(value) else text(value)


def mapping(value: object) -> dict[str, str] | None:
    """Read a dictionary of names and texts; an empty one is nothing. Its values may be secrets, and are not shown."""
    if value is None or value == {}:
        return None
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return dict(value)
    raise ValueError(f"a dictionary, not {type(value).__name__}")


def proxy(value: object) -> Proxy | None:
    """Read a proxy's URL. It may hold a password, so that no error shows it."""
    if isinstance(value, Proxy):
        return value
    url = text(value)
    try:
        return Proxy.parse(url) if url else None
    except ConfigurationError as exc:
        raise ValueError("socks5://user:password@host:port or http://user:password@host:port") from exc


def token_store(value: object) -> str | None:
    """Read where access tokens are shared."""
    word = text(value)
    if word is None or word in {"memory", "cache"} or (word.startswith(("cache:", "file:/")) and word[-1] != ":"):
        return word
    raise ValueError(f"'memory', 'cache', 'cache:ALIAS' or 'file:/FOLDER', not {word!r}")


def provider(value: object) -> str | None:
    """Read a provider's name, with its region behind a colon where it has several."""
    word = text(value)
    if word is not None:
        find_provider(word)
    return word and word.lower()


def rates(value: object) -> tuple[Rate, ...] | None:
    """Read rate limits: one string with commas between, or a list of strings."""
    parts = [value] if isinstance(value, (str, Promise)) else value
    if parts is None:
        return None
    if not isinstance(parts, Iterable) or not all(isinstance(part, (str, Promise)) for part in parts):
        raise ValueError(f"a rate like '14/s, 10000/d', not {value!r}")
    return tuple(rate for part in parts for rate in Rate.parse_all(str(part))) or None


def governor_store(value: object) -> str | None:
    """Read where limits are shared. The text of the error holds no URL, which may have a password in it."""
    found = text(value)
    scheme = (found or "").partition(":")[0]
    if found is None or scheme in {"memory", "database", "redis", "rediss", "unix"}:
        return found
    raise ValueError("'memory', 'database', 'database:ALIAS', or the URL of a Redis (redis://, rediss://, unix://)")


def relays(value: object) -> tuple[Mapping[str, object], ...] | None:
    """Read a list of relays, each a dictionary of options; ``conf.relays_of`` reads these."""
    if value is None:
        return None
    if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)):
        found = tuple(value)
        if all(isinstance(relay, Mapping) and all(isinstance(name, str) for name in relay) for relay in found):
            return found
    raise ValueError("a list of dictionaries, each with the options of one relay")


def _number(value: object, wanted: str) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{wanted}, not {value!r}")  # noqa: TRY004 - a wrong setting, whatever its type
    try:
        number = float(value)
    except ValueError as exc:
        raise ValueError(f"{wanted}, not {value!r}") from exc
    if not math.isfinite(number):
        raise ValueError(f"{wanted}, not {value!r}")
    return number

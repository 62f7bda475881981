"""What a project may set about suppression; ``robust_email.conf`` does the reading.

An attribute is a setting: ``exempt_kinds`` is ``EMAIL_SUPPRESSION_EXEMPT_KINDS``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final

from django.core.signals import setting_changed

from robust_email import conf, values
from robust_email.options import Meaning
from robust_email.setting_tables import SettingTable
from robust_email.suppression.policy import DAY, DEFAULT_DAYS, KEY, Policy


def _policy(value: object) -> Policy | None:
    """Read days by key, over the defaults; None is for ever, 0 or False never."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"a dictionary of days by status code, not {value!r}")  # noqa: TRY004 - a wrong setting, whatever its type
    return _policy_of({**DEFAULT_DAYS, **{str(key): _days(str(key), days) for key, days in value.items()}})


def _days(key: str, days: object) -> float | None:
    if not KEY.fullmatch(key):
        raise ValueError(f"a dictionary with keys like '5.1.1', '550' or 'complaint', not {key!r}")
    return 0.0 if days is False else values.seconds(zero=True)(days)


def _policy_of(days: dict[str, float | None]) -> Policy:
    return Policy(tuple((key, None if each is None else each * DAY) for key, each in days.items() if each != 0))


_DEFAULT_POLICY: Final = _policy_of(dict(DEFAULT_DAYS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how many seconds rows are kept; None is for ever."""

    suppressions: float | None = 30 * DAY
    """From their end on."""
    evidence: float | None = 365 * DAY


def _retention(value: object) -> Retention | None:
    """Read days by what is kept, over the defaults; None keeps it for ever."""
    if value is None:
        return None
    names = [field.name for field in dataclasses.fields(Retention)]
    if not isinstance(value, dict) or not set(value) <= set(names):
        raise ValueError(f"a dictionary of days with keys among {', '.join(names)}, not {value!r}")
    days = {name: values.seconds(zero=True)(each) for name, each in value.items()}
    return Retention(**{name: None if each is None else each * DAY for name, each in days.items()})


def _kinds(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(kind, str) and kind for kind in value):
        return tuple(value)
    raise ValueError(f"a list of kinds, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionSettings:
    """All of them, typed and checked."""

    policy: Annotated[
        Policy,
        Meaning(
            _policy,
            "days by code",
            "For how long a refusal with this status code, or a 'complaint', suppresses an address; None: until a "
            "person lifts it, 0: never. A reply code ('550') is for replies without a status code. What is given "
            "here is laid over the defaults.",
        ),
    ] = _DEFAULT_POLICY
    exempt_kinds: Annotated[
        tuple[str, ...],
        Meaning(_kinds, "kinds", "Of mail that suppressed addresses get all the same: security notices, say."),
    ] = ()
    return_path: Annotated[
        str | None,
        Meaning(values.text, "address", "The mailbox that bounces go to; bounce_address() adds a token to it."),
    ] = None
    token_age: Annotated[float, Meaning(values.seconds(), "days", "For which such a token is believed.")] = 30.0
    retention: Annotated[
        Retention,
        Meaning(
            _retention,
            "days",
            "After which suppression_purge removes suppressions, from their end on, and evidence; None: never. "
            "Evidence about an address that is on the list stays, and so does what a report read once more is told by.",
        ),
    ] = Retention()


_TABLE: Final = SettingTable(SuppressionSettings, "EMAIL_SUPPRESSION_")

OPTIONS: Final = _TABLE.options
"""Every setting by attribute."""


@lru_cache(maxsize=1)
def suppression_settings() -> SuppressionSettings:
    """Return the project's; read once. ``ImproperlyConfigured`` names the setting that is wrong."""
    return _TABLE.read()


@lru_cache(maxsize=1)
def secret_keys() -> tuple[str, ...]:
    """Return the project's ``SECRET_KEY``, which signs, and the former ones, which are still believed."""
    given: dict[str, Any] = conf.project_settings(["SECRET_KEY", "SECRET_KEY_FALLBACKS"])
    return (str(given["SECRET_KEY"]), *given.get("SECRET_KEY_FALLBACKS", ()))


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith("EMAIL_SUPPRESSION_"):
        suppression_settings.cache_clear()
    if setting.startswith("SECRET_KEY"):
        secret_keys.cache_clear()


setting_changed.connect(_forget, dispatch_uid="robust_email.suppression.conf")

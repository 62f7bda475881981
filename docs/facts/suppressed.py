"""Suppression: its settings and what suppresses an address, from ``robust_email.suppression``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from facts.markdown import code, table
from robust_email.suppression import conf
from robust_email.suppression.policy import DAY, DEFAULT_DAYS
from robust_email.suppression.services import BounceOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator


def page() -> str:
    """Return the reference page."""
    terms = (
        (code(key), "until a person lifts it" if days is None else f"{days:g}") for key, days in DEFAULT_DAYS.items()
    )
    outcomes = ", ".join(code(each.value) for each in BounceOutcome)
    return f"""# Suppression

For `robust_email.suppression` in `INSTALLED_APPS`; {{doc}}`/how-to/bounces` shows how to use it.

## Settings

{table(("Setting", "Unit", "Default", "What it does"), _settings())}
## What suppresses an address, unless the policy says otherwise

{table(("Status code (RFC 3463)", "Days"), terms)}
Nothing else does. 4.x.x never can.

## What an inbound mail may come to

`process_bounce()` returns it, and `manage.py email_bounces` counts it: {outcomes}.
"""


def _settings() -> Iterator[tuple[str, ...]]:
    for option in conf.OPTIONS.values():
        yield code(option.setting), option.unit, _default(option.name, option.default), option.meaning


def _default(name: str, value: Any) -> str:  # noqa: ANN401 - a default is of any kind
    if name == "policy":
        return "see below"
    if name == "retention":
        kept = dataclasses.asdict(value).items()
        return ", ".join(f"{code(what)} {seconds / DAY:g}" for what, seconds in kept)
    return "" if value in {None, ()} else code(f"{value:g}" if isinstance(value, float) else repr(value))

"""The table of settings, for the README and the reference, from ``robust_email.options``."""

from __future__ import annotations

import re
from typing import Any

from facts.markdown import code, table
from robust_email.options import DEFAULT_TIMEOUT, DJANGO_SETTINGS, OPTIONS, DocumentedOption

FOR_README = ("Setting", "Default", "What it does")
FOR_REFERENCE = ("Setting, option", "Type, default", "What it does")


def readme_table() -> str:
    """Return one row per setting, in the order of the code."""
    return table(
        FOR_README, ((code(option.setting), _default(option), _meaning(option)) for option in OPTIONS.values())
    )


def page() -> str:
    """Return the reference page."""
    djangos = [option for option in OPTIONS.values() if option.name in DJANGO_SETTINGS]
    ours = [option for option in OPTIONS.values() if option.name not in DJANGO_SETTINGS]
    return f"""# Settings

Each option has two names. In a project with `EMAIL_*` settings (Django 5.2, 6.0, and 6.1 without `MAILERS`) it is a
setting. In `MAILERS` (Django 6.1) it is a word in `OPTIONS`, and a keyword argument of the backend.
{{doc}}`/how-to/mailers` shows both forms side by side.

Values may be strings, as environment variables are: `"587"` is read as 587 and `"true"` as `True`. A value that cannot
work is an `ImproperlyConfigured` (an `InvalidMailer` with an alias) that names the setting, and `manage.py check` finds
it before any mail does. Nothing is looked up or opened to find out. An option that is left out, or `None`, has its
default; durations are seconds.

## Django's own

Here they mean what they mean in Django, with one exception: `EMAIL_TIMEOUT` is {DEFAULT_TIMEOUT:.0f} seconds where
Django has none and would wait for ever.

{_reference_table(djangos)}
## Ours

{_reference_table(ours)}
## Where they are read

`robust_email.conf` is the only module that reads Django's settings, and it reads them when a backend is built, so
`override_settings` works in tests. Changing a setting in a test also closes the sessions that were opened under the old
one.
"""


def _reference_table(options: list[DocumentedOption]) -> str:
    return table(
        FOR_REFERENCE,
        (
            (
                f"{code(option.setting)}<br>{code(option.name)}",
                ", ".join(filter(None, [code(_type(option.type)), _default(option)])),
                _meaning(option),
            )
            for option in options
        ),
    )


def _type(name: str) -> str:
    """Shorten a type: without None, which means not given, and without the modules of our own classes."""
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", name.replace(" | None", ""))


def _default(option: DocumentedOption) -> str:
    value: Any = option.default
    if value is None or value == ():
        return ""
    return code(f"{value:g}" if isinstance(value, float) else repr(value))


def _meaning(option: DocumentedOption) -> str:
    unit = option.unit
    if unit in {"", "secret", "attempts"}:
        return option.meaning
    return f"{unit[0].upper()}{unit[1:]}. {option.meaning}"

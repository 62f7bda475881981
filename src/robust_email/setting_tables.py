"""Settings as a dataclass: how one app's ``EMAIL_<APP>_*`` are read, checked and listed for the reference.

Each field is ``Annotated[type, Meaning(...)]`` with its default. ``robust_email.conf`` does the reading of Django's
settings, here as everywhere.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_type_hints

from django.core.exceptions import ImproperlyConfigured

from robust_email import conf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robust_email.options import Meaning

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DocumentedSetting:
    """A row of the reference."""

    name: str
    setting: str
    default: object
    unit: str
    meaning: str


class SettingTable(Generic[T]):
    """The settings of ``kind``, a dataclass whose attribute ``batch`` is the setting ``<prefix>BATCH``."""

    def __init__(self, kind: type[T], prefix: str) -> None:
        hints = get_type_hints(kind, include_extras=True)
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # T is a dataclass, which no bound can say
        self._kind = kind
        self._meanings: dict[str, Meaning] = {field.name: get_args(hints[field.name])[1] for field in fields}
        self.options: Mapping[str, DocumentedSetting] = {
            field.name: DocumentedSetting(
                field.name,
                prefix + field.name.upper(),
                None if self._meanings[field.name].unit == "secret" else field.default,
                self._meanings[field.name].unit,
                self._meanings[field.name].text,
            )
            for field in fields
        }

    def read(self) -> T:
        """Return the project's settings; ``ImproperlyConfigured`` names the one that is wrong."""
        given = conf.project_settings(option.setting for option in self.options.values())
        typed: dict[str, Any] = {}
        for option in self.options.values():
            try:
                found = self._meanings[option.name].read(given.get(option.setting))
            except ValueError as exc:
                raise ImproperlyConfigured(f"{option.setting} must be {exc}") from exc
            if found is not None:
                typed[option.name] = found
        return self._kind(**typed)

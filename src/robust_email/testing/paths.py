"""The arguments of MAIL and RCPT (RFC 5321 4.1.1.2, 4.1.1.3): a path in angle brackets and ESMTP parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ARGUMENT = re.compile(
    r"(?P<label>[A-Za-z]+):"
    r"<(?P<path>(?:\"(?:\\.|[^\"\\])*\"|[^<>\"\s])*)>"
    r"(?P<parameters>(?: [A-Za-z0-9][A-Za-z0-9-]*(?:=[^\s=]+)?)*)"
)


@dataclass(frozen=True, slots=True)
class PathArgument:
    """A path without its brackets, and the parameters by keyword in upper case."""

    path: str
    parameters: Mapping[str, str]

    @property
    def is_ascii(self) -> bool:
        """Whether the path can go without SMTPUTF8 (RFC 6531)."""
        return self.path.isascii()


def parse_path_argument(label: str, argument: str) -> PathArgument | None:
    """Return what stands behind ``MAIL`` (label ``FROM``) or ``RCPT`` (``TO``), or ``None`` for a syntax error.

    Strict: no space after the colon, no missing brackets, no parameter that is none.
    """
    found = _ARGUMENT.fullmatch(argument)
    if found is None or found["label"].upper() != label:
        return None
    words = [word.partition("=") for word in found["parameters"].split()]
    return PathArgument(found["path"], {keyword.upper(): value for keyword, _, value in words})

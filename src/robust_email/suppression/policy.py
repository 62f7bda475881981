"""What a refusal or a complaint costs an address: pure, by code and never by text.

Only what says that there is no such mailbox counts unless the project says more. 4.x.x never does: a full or
greylisting mailbox is there. 5.7.x is about us, and a 5yz without an enhanced code may be about anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

DAY: Final = 86_400.0
COMPLAINT: Final = "complaint"
KEY: Final = re.compile(r"5\.\d{1,3}\.\d{1,3}|5\d\d|complaint")
"""What a policy may name: an enhanced status code, a reply code for replies that have none, or ``complaint``."""

DEFAULT_DAYS: Final[Mapping[str, float | None]] = {
    "5.1.1": 180.0,  # no such mailbox (RFC 3463 3.2)
    "5.1.2": 7.0,  # no such domain; short, since the mistake may be a name server's
    "5.1.3": 180.0,  # the address cannot be one
    "5.1.6": 180.0,  # moved, and no one knows where
    "5.1.10": 30.0,  # the domain takes no mail (null MX, RFC 7505)
    "5.2.1": 30.0,  # the mailbox is disabled
    COMPLAINT: None,  # until a person lifts it
}


@dataclass(frozen=True, slots=True)
class Term:
    """For how long. ``seconds`` is None for ever."""

    seconds: float | None

    def end(self, now: datetime) -> datetime | None:
        """Return when it is over, or None."""
        return None if self.seconds is None else now + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Policy:
    """Terms by key; what is not named suppresses nobody."""

    terms: tuple[tuple[str, float | None], ...]

    def of_refusal(self, status: str, code: int | None = None) -> Term | None:
        """Return the term for an enhanced status code or, where there is none, for a reply code."""
        return self._of(status or str(code or ""))

    def of_complaint(self) -> Term | None:
        """Return the term for a complaint."""
        return self._of(COMPLAINT)

    def _of(self, key: str) -> Term | None:
        return next((Term(seconds) for name, seconds in self.terms if name == key), None)


def longer(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two ends; None is for ever."""
    return None if one is None or other is None else max(one, other)

"""What the server offers, read from its latest EHLO reply (RFC 5321 4.1.1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robust_email.smtp.protocol.replies import Reply

_KEYWORD = re.compile(r"[A-Z0-9][A-Z0-9-]*")


@dataclass(frozen=True, slots=True)
class Extensions:
    """Upper-case keyword to its parameters. Knowledge of before STARTTLS is discarded (RFC 3207 4.2)."""

    keywords: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, reply: Reply) -> Extensions:
        """From an EHLO 250. Lines that are no extension are passed over, as RFC 5321 asks."""
        found: dict[str, str] = {}
        for raw in reply.lines[1:]:
            text = raw.decode("ascii", "replace").strip()
            # "AUTH=PLAIN" is the form of old servers; both forms may be there at once.
            keyword, _, parameters = text.replace("AUTH=", "AUTH ", 1).partition(" ")
            keyword = keyword.upper()
            if _KEYWORD.fullmatch(keyword):
                found[keyword] = f"{found.get(keyword, '')} {parameters.strip()}".strip()
        return cls(found)

    def __contains__(self, keyword: str) -> bool:
        """Whether the server offers ``keyword``."""
        return keyword.upper() in self.keywords

    @property
    def size(self) -> int | None:
        """The largest message in octets (RFC 1870); ``None`` when unsaid or unlimited."""
        parameter = self.keywords.get("SIZE", "").split(" ", maxsplit=1)[0]
        return int(parameter) or None if parameter.isdecimal() else None

    @property
    def auth_mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms offered, upper case, in the server's order (RFC 4954 3)."""
        return tuple(dict.fromkeys(self.keywords.get("AUTH", "").upper().split()))

    def _limit(self, name: str) -> int | None:
        for item in self.keywords.get("LIMITS", "").upper().split():
            key, _, value = item.partition("=")
            if key == name and value.isdecimal() and int(value) > 0:
                return int(value)
        return None

    @property
    def max_messages(self) -> int | None:
        """Transactions per session (LIMITS MAILMAX, RFC 9422 4.1)."""
        return self._limit("MAILMAX")

    @property
    def max_recipients(self) -> int | None:
        """Recipients per transaction (LIMITS RCPTMAX, RFC 9422 4.2)."""
        return self._limit("RCPTMAX")

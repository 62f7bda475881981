"""Access tokens, who grants them, and where they are kept for all workers: the words of OAuth 2.0 (RFC 6749) here."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

EXPIRY_MARGIN: Final = 60.0
"""Seconds before its end after which a token is renewed: it has to last for the log-in, and clocks differ."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token. Times are seconds of the Unix epoch, since they are compared on many machines."""

    value: str = field(repr=False)
    expires_at: float
    obtained_at: float
    refresh_token: str = field(default="", repr=False)
    """What the server said to renew with next time; empty where it said nothing."""
    after_refusal: bool = False
    """Obtained because a mail server refused the one before; if this one is refused too, no third will help."""

    def is_fresh(self, now: float) -> bool:
        """Tell whether it is good for a while yet. Of a very short life, three quarters are used."""
        margin = min(EXPIRY_MARGIN, (self.expires_at - self.obtained_at) / 4)
        return now < self.expires_at - margin

    def is_alive(self, now: float) -> bool:
        """Tell whether it has not ended."""
        return now < self.expires_at

    def renewed_after_refusal(self) -> Token:
        """Return it with the note of why it was obtained."""
        return replace(self, after_refusal=True)

    def to_json(self) -> str:
        """Return it as text, secrets included."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Token | None:
        """Read what ``to_json`` wrote; None for anything else, such as another version's."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None


class Grant(Protocol):
    """A way to get tokens for one account. Hashable and equal by what it was configured with."""

    @property
    def key(self) -> str:
        """Name the account and the way, for stores: the same in every process, and without a secret."""

    def obtain(self, previous: Token | None, seconds: float) -> Token:
        """Ask the token server, within about ``seconds``. ``previous`` may hold a refresh token.

        Raises ``CredentialsUnavailable``; permanent where asking again cannot help (RFC 6749 5.2).
        """


class TokenStore(Protocol):
    """Where processes that share an account share its token. Hashable and equal by where it is.

    What it raises is logged, and the caller goes on without it; ``CredentialsUnavailable`` alone is passed on.
    """

    def load(self, key: str) -> Token | None:
        """Return what was saved last, if it is still there."""

    def save(self, key: str, token: Token) -> None:
        """Keep it."""

    def exclusive(self, key: str, seconds: float) -> AbstractContextManager[bool]:
        """Be the only one, for at most ``seconds`` of waiting; gives False where somebody else still is."""

"""Ways to get an access token that need no library: a refresh token, or the client's own right (RFC 6749 6 and 4.4).

They serve any server that keeps to the RFC, Microsoft's and Google's included; ``microsoft`` and ``google`` go through
these firms' own libraries, which know more: certificates, service accounts.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robust_email.credentials.stores import replace_file
from robust_email.credentials.token_endpoint import OAuthRefused, post, token_of
from robust_email.smtp import CredentialsUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.credentials.tokens import Token


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a person's consent left us with: the token itself, or the file that ``manage.py email_oauth`` wrote."""

    value: str = field(default="", repr=False)
    file: str = ""

    def __bool__(self) -> bool:
        return bool(self.value or self.file)

    def read(self) -> str:
        """Return it. Raises ``CredentialsUnavailable``."""
        if not self.file:
            return self.value
        try:
            return Path(self.file).read_text(encoding="utf-8").strip()
        except OSError as exc:
            text = f"the refresh token's file {self.file} cannot be read ({exc.strerror}): run manage.py email_oauth"
            raise CredentialsUnavailable(text, permanent=True) from exc

    def keep(self, value: str) -> None:
        """Write down a new one, if there is a file for it and it may be written; the store of tokens has it too."""
        if self.file:
            with contextlib.suppress(OSError):
                replace_file(Path(self.file), value + "\n")

    @property
    def mark(self) -> str:
        """Differs between two of them, and tells neither: a new consent must not find what an old one left."""
        return hashlib.sha256((self.file or self.value).encode()).hexdigest()[:16]


NO_REFRESH_TOKEN: Final = RefreshToken()


def renewed(refresh: RefreshToken, previous: Token | None, ask: Callable[[str], Token]) -> Token:
    """Get a token by ``ask(refresh token)``: the one that the server gave last, then the one that a person set.

    Servers may end a refresh token with its first use and give another (RFC 6749 6). That one may be lost, or a person
    may have consented anew: so where the server's last one is void, the configured one is tried too.
    """
    configured = refresh.read()
    latest = (previous.refresh_token if previous else "") or configured
    try:
        token = ask(latest)
    except OAuthRefused as exc:
        if exc.code != "invalid_grant" or latest == configured:
            raise
        latest, token = configured, ask(configured)
    if token.refresh_token and token.refresh_token != latest:
        refresh.keep(token.refresh_token)
    return replace(token, refresh_token=token.refresh_token or latest)


@dataclass(frozen=True, slots=True)
class GenericGrant:
    """A token server by its URL. With a refresh token the account is a person's, without one the client's own."""

    token_url: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    scope: str = ""
    refresh_token: RefreshToken = NO_REFRESH_TOKEN
    cafile: str | None = None

    @property
    def key(self) -> str:
        """As ``Grant`` has it."""
        return f"generic {self.token_url} {self.client_id} {self.scope} {self.refresh_token.mark}"

    def obtain(self, previous: Token | None, seconds: float) -> Token:
        """As ``Grant`` has it."""
        if self.refresh_token:
            return renewed(
                self.refresh_token,
                previous,
                lambda latest: self._ask(seconds, grant_type="refresh_token", refresh_token=latest),
            )
        return self._ask(seconds, grant_type="client_credentials")

    def _ask(self, seconds: float, **fields: str) -> Token:
        fields |= {"client_id": self.client_id, "client_secret": self.client_secret, "scope": self.scope}
        given = {name: value for name, value in fields.items() if value}
        return token_of(post(self.token_url, given, seconds=seconds, cafile=self.cafile))

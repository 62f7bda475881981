"""What must never be read off a report: passwords, tokens, and whole e-mail addresses, also in a server's own words."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from robust_email.smtp.transcript import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.smtp import Credentials
    from robust_email.smtp.proxy import Proxy

_HIDDEN: Final = "***"
_AUTH_RESPONSE: Final = re.compile(r"\b(AUTH [A-Z][A-Z0-9-]+) \S+")
_SHORTEST: Final = 3
"""Characters. Hiding a shorter password would tell it, by the holes it leaves."""


class Concealment:
    """Takes the secrets of one configuration out of any text."""

    def __init__(self, credentials: Credentials | None, proxy: Proxy | None = None) -> None:
        """Know what to look for, the longest first: one form may hold another."""
        forms = set(_forms(credentials)) if credentials else set()
        if proxy is not None:
            forms |= {proxy.password, _base64(f"{proxy.username}:{proxy.password}")}
        self._forms = sorted((form for form in forms if len(form) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with secrets as ``***`` and addresses as ``a***@d***.tld``."""
        for form in self._forms:
            text = text.replace(form, _HIDDEN)
        return masked(_AUTH_RESPONSE.sub(rf"\1 {_HIDDEN}", text))


def _forms(credentials: Credentials) -> Iterator[str]:
    """Each secret as it is, and as the mechanisms write it (RFC 4616, RFC 7628)."""
    user = credentials.username
    for secret in filter(None, (credentials.password, credentials.access_token)):
        yield secret
        for message in (secret, f"\0{user}\0{secret}", f"user={user}\1auth=Bearer {secret}\1\1"):
            yield _base64(message)


def _base64(text: str) -> str:
    """Without padding, so that it is found with and without."""
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")

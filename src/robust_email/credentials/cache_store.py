"""A store of tokens in a Django cache, for the workers of many machines: sealed, since caches are not guarded.

Redis and Memcached do both things that are needed: ``add`` lets one through, and an entry ends by itself. The local
memory cache is one process's alone; the dummy cache keeps nothing, so that each process renews for itself.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from django.core.cache import caches

from robust_email.credentials.tokens import Token
from robust_email.smtp import CredentialsUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.fernet import Fernet
    from django.core.cache.backends.base import BaseCache

POLL: Final = 0.1
"""Seconds between two looks at a lock that somebody else has."""
LONGEST_HOLD: Final = 60
"""Seconds after which the lock of a worker that died is void."""
_KEEP: Final = 90 * 24 * 3600
"""Seconds to keep an entry with a refresh token: Microsoft's live 90 days."""


@dataclass(frozen=True, slots=True)
class CacheStore:
    """``alias`` is one of ``CACHES``; ``secret`` (the project's secret key) seals what is stored."""

    alias: str
    secret: str = field(repr=False)

    def load(self, key: str) -> Token | None:
        """Return the token; None if it is not there, or sealed with another key."""
        fernet, sealed = self._fernet(), self._cache.get(_entry(key))
        if not isinstance(sealed, str):
            return None
        from cryptography.fernet import InvalidToken

        try:
            return Token.from_json(fernet.decrypt(sealed.encode()).decode())
        except InvalidToken:
            return None

    def save(self, key: str, token: Token) -> None:
        """Keep it as long as it, or its refresh token, can be of use."""
        lifetime = max(1, int(token.expires_at - time.time()))
        sealed = self._fernet().encrypt(token.to_json().encode()).decode()
        self._cache.set(_entry(key), sealed, timeout=_KEEP if token.refresh_token else lifetime)

    @contextlib.contextmanager
    def exclusive(self, key: str, seconds: float) -> Iterator[bool]:
        """Hold the account's lock entry. A worker that dies blocks the others for ``LONGEST_HOLD`` seconds at most."""
        lock, owner, until = f"{_entry(key)}:lock", secrets.token_hex(16), time.monotonic() + seconds
        while not self._cache.add(lock, owner, timeout=LONGEST_HOLD):
            if time.monotonic() >= until:
                yield False
                return
            time.sleep(POLL)
        try:
            yield True
        finally:
            with contextlib.suppress(Exception):  # a cache that went away meanwhile; the lock ends by itself
                if self._cache.get(lock) == owner:
                    self._cache.delete(lock)

    @property
    def _cache(self) -> BaseCache:
        return caches[self.alias]

    def _fernet(self) -> Fernet:
        try:
            from cryptography.fernet import Fernet
        except ImportError as exc:
            text = (
                "a token in the cache is sealed, which needs cryptography: pip install 'django-robust-email[sealing]'"
            )
            raise CredentialsUnavailable(text, permanent=True) from exc
        digest = hashlib.sha256(b"robust_email.credentials:" + self.secret.encode()).digest()
        return Fernet(base64.urlsafe_b64encode(digest))


def _entry(key: str) -> str:
    """Memcached takes no spaces and at most 250 characters."""
    return f"robust_email:token:{hashlib.sha256(key.encode()).hexdigest()[:32]}"

"""Log-ins by OAuth 2.0: a token for every session, renewed by one for all who wait.

Of all threads that need a new token one asks for it, under a lock of the process, and of all processes that share a
store one, under the store's. Whoever waited finds the new token there. A token that the mail server refused is renewed
once; if the new one is refused too, the fault lies elsewhere (a permission, a switched-off SMTP AUTH), and for
``HOLD_AFTER_REFUSAL`` seconds nobody logs in with that account at all: providers lock accounts for less.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from robust_email.smtp import Credentials, CredentialsUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.credentials.tokens import Grant, Token, TokenStore

HOLD_AFTER_REFUSAL: Final = 60.0
"""Seconds for which a renewed token that was refused too is not renewed again."""
HOLD_AFTER_TROUBLE: Final = 2.0
"""Seconds for which a token server that failed is not asked again; whoever waits gets the same answer."""

_logger: Final = logging.getLogger("robust_email.backend")
_LONGEST_WAIT: Final = 30.0
"""Seconds, where the caller has no limit of his own."""


class OAuthCredentials:
    """A ``CredentialsProvider`` that gives access tokens of one account. Two with equal parts are equal.

    ``clock`` gives seconds of the Unix epoch: lifetimes are shared between machines.
    """

    def __init__(self, username: str, grant: Grant, store: TokenStore, clock: Callable[[], float] = time.time) -> None:
        """Ask nobody yet."""
        self.username = username
        self.grant = grant
        self.store = store
        self._clock = clock
        self._token: Token | None = None
        self._refused: deque[str] = deque(maxlen=16)
        self._trouble: tuple[float, CredentialsUnavailable] | None = None
        self._lock = threading.Lock()
        _all[id(self)] = self

    def credentials(self, seconds: float) -> Credentials:
        """Return the user name with a token that is good now. Raises ``CredentialsUnavailable``."""
        return Credentials(self.username, access_token=self.token(seconds).value)

    def refused(self, credentials: Credentials) -> bool:
        """Note that the mail server refused this token; whether another can be had."""
        value = credentials.access_token or ""
        if value not in self._refused:
            self._refused.append(value)
        token = self._token
        return token is None or token.value != value or not self._is_held(token)

    def still_good(self, credentials: Credentials) -> bool:
        """A session outlives its token, unless the server refused that token somewhere else."""
        return credentials.access_token not in self._refused

    def token(self, seconds: float) -> Token:
        """Return a good token: the one in hand, another worker's, or a new one. Raises as ``credentials``."""
        token = self._token
        if token is not None and self._is_usable(token):
            return token
        seconds = min(seconds, _LONGEST_WAIT)
        until = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            raise CredentialsUnavailable("somebody else is renewing the token, and it takes long", permanent=False)
        try:
            return self._found_or_renewed(until)
        finally:
            self._lock.release()

    def _found_or_renewed(self, until: float) -> Token:
        """Under the process's lock."""
        if self._token is not None and self._is_usable(self._token):
            return self._token
        now = self._clock()
        if self._trouble is not None and now < self._trouble[0]:
            trouble = self._trouble[1]
            raise CredentialsUnavailable(str(trouble), permanent=trouble.permanent) from trouble
        try:
            token = self._from_store_or_server(until)
        except CredentialsUnavailable as exc:
            self._trouble = now + HOLD_AFTER_TROUBLE, exc
            if self._token is not None and self._token.is_alive(now) and self._token.value not in self._refused:
                return self._token  # within its last minute, which is better than nothing
            raise
        self._token, self._trouble = token, None
        return token

    def _from_store_or_server(self, until: float) -> Token:
        stored = self._load()
        if stored is not None and self._is_usable(stored):
            return stored
        with contextlib.ExitStack() as stack:
            alone = self._be_alone(stack, max(0.0, until - time.monotonic()))
            stored = self._load() or self._token
            if stored is not None and self._is_usable(stored):
                return stored
            if not alone:
                raise CredentialsUnavailable("another worker is renewing the token, and it takes long", permanent=False)
            token = self._renewed(stored, max(1.0, until - time.monotonic()))
            self._save(token)
            return token

    def _load(self) -> Token | None:
        try:
            return self.store.load(self.grant.key)
        except CredentialsUnavailable:
            raise
        except Exception as exc:  # noqa: BLE001 - a cache of any kind
            self._tell_of_store("read", exc)
            return None

    def _save(self, token: Token) -> None:
        try:
            self.store.save(self.grant.key, token)
        except CredentialsUnavailable:
            raise
        except Exception as exc:  # noqa: BLE001 - a cache of any kind; the token itself is good
            self._tell_of_store("written", exc)

    def _be_alone(self, stack: contextlib.ExitStack, seconds: float) -> bool:
        try:
            return stack.enter_context(self.store.exclusive(self.grant.key, seconds))
        except Exception as exc:  # noqa: BLE001 - two renewals at a time are better than none
            self._tell_of_store("locked", exc)
            return True

    def _tell_of_store(self, what: str, exc: Exception) -> None:
        _logger.warning("The store of access tokens cannot be %s (%s); going on without it", what, type(exc).__name__)

    def _renewed(self, stored: Token | None, seconds: float) -> Token:
        was_refused = stored is not None and stored.value in self._refused
        if stored is not None and was_refused and self._is_held(stored):
            raise CredentialsUnavailable(
                "the mail server refuses a token that was renewed just now: the account may lack the permission to "
                "send (or SMTP AUTH), or the token is for another mailbox than EMAIL_HOST_USER",
                permanent=True,
            )
        token = self.grant.obtain(stored, seconds)
        return token.renewed_after_refusal() if was_refused else token

    def _is_usable(self, token: Token) -> bool:
        return token.is_fresh(self._clock()) and token.value not in self._refused

    def _is_held(self, token: Token) -> bool:
        return token.after_refusal and self._clock() - token.obtained_at < HOLD_AFTER_REFUSAL

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OAuthCredentials) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, ...]:
        return self.username, self.grant, self.store


_all: Final[weakref.WeakValueDictionary[int, OAuthCredentials]] = weakref.WeakValueDictionary()
"""By identity: equal ones are still different objects with locks of their own."""


def _renew_locks() -> None:
    """In a forked child: another thread of the parent may have held a lock."""
    for provider in list(_all.values()):
        provider._renew_lock()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)

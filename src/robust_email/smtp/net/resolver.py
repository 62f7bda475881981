"""Names to addresses, with a deadline that a dead DNS cannot stretch.

``getaddrinfo`` takes no time-out: with one silent nameserver it returns after 10 s, with two after 20 s, whatever the
socket's time-out says. So it runs in a daemon thread that can be left behind: one per name, shared by all who wait for
it (a thread per attempt would pile up), and not from an executor (whose threads hold up the interpreter's exit).

Answers are trusted for ``DnsPolicy.ttl`` seconds. After that a new lookup is given a moment (``GRACE``), of which a
healthy DNS needs milliseconds; then, or at once if the lookup before failed too, the last good answer serves on, for
up to ``max_stale`` seconds, while the lookup goes on beside it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from robust_email.smtp.config import DnsPolicy
from robust_email.smtp.failure import Failure, FailureKind, SessionFailure
from robust_email.smtp.net.failures import RESOLVER_REMEDY, failure_of
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robust_email.smtp.net.deadline import Clock, Deadline

GRACE: Final = 1.0
"""Seconds that an outdated answer waits for a new one."""
_MAX_NAMES: Final = 1024
"""Names remembered; the oldest goes first."""

_Key = tuple[str, int]
_AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


class GetAddrInfo(Protocol):
    """``socket.getaddrinfo`` as it is called here."""

    def __call__(self, host: str, port: int, *, type: int) -> Sequence[_AddressInfo]:  # noqa: A002 - its own name
        """Look the name up, for as long as it takes."""


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """One address to connect to: what ``socket.socket`` and ``connect`` take."""

    family: int
    sockaddr: tuple[Any, ...]

    def __str__(self) -> str:
        """``address:port``."""
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The addresses of a name, in the resolver's order, never empty."""

    addresses: tuple[SocketAddress, ...]
    stale_age: float | None = None
    """Seconds since the lookup, if it is outdated and DNS gave no newer one; ``None`` for a trusted answer."""


@dataclass(slots=True)
class _Lookup:
    """One call of ``getaddrinfo``, under way or over. ``done`` is set after the results are written."""

    started: float
    done: threading.Event = field(default_factory=threading.Event)
    addresses: tuple[SocketAddress, ...] = ()
    error: Exception | None = None


@dataclass(slots=True)
class _Known:
    addresses: tuple[SocketAddress, ...]
    since: float
    renewal_failed: bool = False


_resolvers: weakref.WeakSet[Resolver] = weakref.WeakSet()


class Resolver:
    """Looks names up for a whole process; thread-safe, and usable in a forked child.

    ``getaddrinfo`` is the socket module's at the time of the call (gevent replaces it) unless one is given.
    """

    def __init__(
        self,
        policy: DnsPolicy = DnsPolicy(),  # noqa: B008 - frozen
        *,
        clock: Clock = time.monotonic,
        getaddrinfo: GetAddrInfo | None = None,
    ) -> None:
        """Begin with nothing known."""
        self._policy = policy
        self._clock = clock
        self._getaddrinfo = getaddrinfo
        self._known: dict[_Key, _Known] = {}
        self._forget_threads()
        _resolvers.add(self)

    def _forget_threads(self) -> None:
        """Threads do not survive a fork, and a lock that one of them held would never be released."""
        self._lock = threading.Lock()
        self._under_way: dict[_Key, _Lookup] = {}

    def resolve(self, host: str, port: int, deadline: Deadline) -> Answer:
        """Return the addresses of a name, or of an IP literal without a lookup.

        Raises:
            SessionFailure: there is no address, no answer before the deadline, and no good answer from before
                (phase ``RESOLVE``, kind ``NAME_UNKNOWN``, ``RESOLVER_DOWN`` or ``TIMEOUT``).
        """
        if literal := _literal(host, port):
            return Answer((literal,))
        key = (host, port)
        with self._lock:
            known = self._usable(key)
            if known and self._age(known) < self._policy.ttl:
                return Answer(known.addresses)
            lookup = self._under_way.get(key) or self._start(key)
        if known:
            patience = 0.0 if known.renewal_failed else GRACE - (self._clock() - lookup.started)
            finished = lookup.done.wait(max(0.0, min(patience, deadline.remaining())))
            if finished and lookup.error is None:
                return Answer(lookup.addresses)
            return Answer(known.addresses, stale_age=self._age(known))
        if not lookup.done.wait(min(deadline.remaining(), threading.TIMEOUT_MAX)):
            raise SessionFailure(_no_answer(host))
        if lookup.error is not None:
            raise SessionFailure(_no_address(lookup.error, host)) from lookup.error
        return Answer(lookup.addresses)

    def forget(self) -> None:
        """Forget every answer; the next call of each name looks it up."""
        with self._lock:
            self._known.clear()

    def _age(self, known: _Known) -> float:
        return self._clock() - known.since

    def _usable(self, key: _Key) -> _Known | None:
        known = self._known.get(key)
        return known if known and self._age(known) < self._policy.ttl + self._policy.max_stale else None

    def _start(self, key: _Key) -> _Lookup:
        """Begin a lookup; the lock is held."""
        lookup = _Lookup(started=self._clock())
        thread = threading.Thread(target=self._look_up, args=(key, lookup), name=f"resolve {key[0]}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is on its way out
            lookup.error = error
            lookup.done.set()
        else:
            self._under_way[key] = lookup
        return lookup

    def _look_up(self, key: _Key, lookup: _Lookup) -> None:
        """Run in the thread; whatever happens, end the wait of those who wait."""
        try:
            found = (self._getaddrinfo or socket.getaddrinfo)(*key, type=socket.SOCK_STREAM)
            lookup.addresses = tuple(dict.fromkeys(SocketAddress(family, address) for family, *_, address in found))
            if not lookup.addresses:
                raise socket.gaierror(socket.EAI_NONAME, "getaddrinfo returned no address")  # noqa: TRY301 - one way out for all
        except Exception as error:  # noqa: BLE001 - carried to whoever waits, and raised there
            lookup.error = error
        finally:
            self._finish(key, lookup)
            lookup.done.set()

    def _finish(self, key: _Key, lookup: _Lookup) -> None:
        with self._lock:
            self._under_way.pop(key, None)
            if lookup.error is None:
                self._known.pop(key, None)
                while len(self._known) >= _MAX_NAMES:
                    del self._known[next(iter(self._known))]
                self._known[key] = _Known(lookup.addresses, self._clock())
            elif key in self._known:
                self._known[key].renewal_failed = True


def _literal(host: str, port: int) -> SocketAddress | None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    # Only the parser of getaddrinfo: it knows scopes (fe80::1%eth0), and asks nobody.
    flags = socket.AI_NUMERICHOST
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
    except OSError as error:
        raise SessionFailure(_no_address(error, host)) from error
    return SocketAddress(family, address)


def _no_address(error: Exception, host: str) -> Failure:
    if isinstance(error, UnicodeError):
        text = f"{host}: this cannot be a host name (a label is empty or over 63 octets); check EMAIL_HOST"
        return Failure(FailureKind.NAME_UNKNOWN, Phase.RESOLVE, text)
    if isinstance(error, socket.gaierror):
        return failure_of(error, Phase.RESOLVE, host)
    number = error.errno if isinstance(error, OSError) else None
    return Failure(FailureKind.RESOLVER_DOWN, Phase.RESOLVE, f"{host}: the lookup failed ({error})", number)


def _no_answer(host: str) -> Failure:
    text = f"{host}: DNS did not answer in time. {RESOLVER_REMEDY}"
    return Failure(FailureKind.TIMEOUT, Phase.RESOLVE, text)


def _after_fork_in_child() -> None:
    for resolver in _resolvers:
        resolver._forget_threads()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

_shared: dict[DnsPolicy, Resolver] = {}


def shared_resolver(policy: DnsPolicy) -> Resolver:
    """Return the process's resolver for this policy: all relays and pools share its answers and its threads."""
    return _shared.get(policy) or _shared.setdefault(policy, Resolver(policy))

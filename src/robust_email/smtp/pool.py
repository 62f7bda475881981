"""Sessions kept ready for one relay and account, leased to one thread at a time.

What to do is decided under the lock; what needs the network is done outside it. There are no background threads:
sessions are opened by whoever needs one, and expired ones are closed by whoever comes next. A waiter and the giver
agree under one lock, so that a session is never handed to somebody who has stopped waiting (psycopg_pool's way).
"""

from __future__ import annotations

import collections
import os
import threading
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.lane import Lane
from robust_email.smtp.opening import SessionUnavailable
from robust_email.smtp.outcome import classify_failure
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from robust_email.smtp.config import PoolLimits
    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.session import Session


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counts of sessions now (``leased``, ``idle``, ``waiting`` callers) and since the start (the rest)."""

    size: int
    leased: int
    idle: int
    waiting: int
    opened: int
    reused: int
    closed: int


@dataclass(slots=True)
class Lease:
    """A session in one caller's hands. ``reused`` tells that it may have died since it was last used."""

    session: Session
    reused: bool


class _Waiter:
    """Somebody in the queue. ``session`` is what he is given; ``None`` with ``served`` means: open one yourself."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.served = False
        self.session: Session | None = None


class SessionPool:
    """At most ``limits.size`` sessions.

    ``open_session(deadline, attempt, lane)`` opens one or raises ``SessionUnavailable``.
    """

    def __init__(
        self,
        open_session: Callable[[Deadline, int, Lane], Session],
        limits: PoolLimits,
        clock: Callable[[], float],
        on_closed: Callable[[Session, str], None],
        *,
        on_waited: Callable[[float], None] | None = None,
    ) -> None:
        """Opens nothing. ``on_closed`` hears of sessions that ended, and why; ``on_waited`` of seconds in the queue."""
        self._open_session = open_session
        self._limits = limits
        self._clock = clock
        self._on_closed = on_closed
        self._on_waited = on_waited
        self._forget()
        _pools.add(self)

    def _forget(self) -> None:
        """Start anew; sessions known so far belong to the parent process and are not spoken to."""
        self._lock = threading.Lock()
        self._idle: collections.deque[Session] = collections.deque()
        self._waiters: collections.deque[_Waiter] = collections.deque()
        self._taken = 0
        self._opened = self._reused = self._closed = 0
        self._generation = object()

    def forget_after_fork(self) -> None:
        """In a forked child: drop the inherited sockets without a word. The parent goes on using them."""
        inherited = list(self._idle)
        self._forget()
        for session in inherited:
            session.abort()

    @contextmanager
    def lease(
        self, deadline: Deadline, *, fresh: bool = False, attempt: int = 1, lane: Lane = Lane.NORMAL
    ) -> Iterator[Lease]:
        """Lend a session: an idle one, or a new one, or the next to come free.

        ``fresh`` asks for a new one (after an idle one proved dead); ``attempt`` and ``lane`` are passed to
        ``open_session``.
        Raises ``SessionUnavailable``; phase ``POOL`` when all stayed leased for ``limits.wait`` seconds. An exception
        inside the block costs the session.
        """
        lease = self._take(deadline, attempt, lane, fresh=fresh)
        generation = self._generation
        try:
            yield lease
        except BaseException:
            lease.session.broken = True
            raise
        finally:
            if generation is self._generation:
                self._give_back(lease.session)
            else:
                lease.session.abort()

    @property
    def size(self) -> int:
        """How many sessions there may be."""
        return self._limits.size

    def stats(self) -> PoolStats:
        """A consistent snapshot."""
        with self._lock:
            idle, waiting = len(self._idle), len(self._waiters)
            return PoolStats(
                size=self._limits.size,
                leased=self._taken - idle,
                idle=idle,
                waiting=waiting,
                opened=self._opened,
                reused=self._reused,
                closed=self._closed,
            )

    def close_idle(self, reason: str = "pool closed") -> None:
        """Say QUIT to every idle session. Leased ones come back and are kept: the pool stays usable."""
        with self._lock:
            idle = [(session, reason) for session in self._idle]
            self._idle.clear()
            self._taken -= len(idle)
        self._close(idle)

    # -- taking

    def _take(self, deadline: Deadline, attempt: int, lane: Lane, *, fresh: bool) -> Lease:
        wait_until = deadline.within(self._limits.wait)
        while True:
            session, waiter, to_close = self._decide(fresh=fresh)
            self._close(to_close)
            if waiter is not None:
                session = self._await(waiter, wait_until)
            if session is None:
                return Lease(self._open(deadline, attempt, lane), reused=False)
            if session.is_alive():
                with self._lock:
                    self._reused += 1
                return Lease(session, reused=True)
            self._discard(session, "ended by the server")

    def _decide(self, *, fresh: bool) -> tuple[Session | None, _Waiter | None, list[tuple[Session, str]]]:
        """Under the lock: an idle session, or leave to open one (``None, None``), or a place in the queue."""
        with self._lock:
            to_close = self._expired()
            if fresh and self._taken >= self._limits.size and self._idle:
                to_close.append((self._idle.popleft(), "replaced"))
                self._taken -= 1
            if self._idle and not fresh:
                return self._idle.pop(), None, to_close
            if self._taken < self._limits.size:
                self._taken += 1
                return None, None, to_close
            waiter = _Waiter()
            self._waiters.append(waiter)
            return None, waiter, to_close

    def _expired(self) -> list[tuple[Session, str]]:
        now = self._clock()
        reasons = [(session, session.reason_to_end(self._limits, now)) for session in self._idle]
        self._idle = collections.deque(session for session, reason in reasons if reason is None)
        expired = [(session, reason) for session, reason in reasons if reason is not None]
        self._taken -= len(expired)
        return expired

    def _await(self, waiter: _Waiter, until: Deadline) -> Session | None:
        began = self._clock()
        try:
            waiter.event.wait(min(until.remaining(), threading.TIMEOUT_MAX))
        except BaseException:  # a signal handler's, such as Celery's soft time limit
            self._stop_waiting(waiter)
            raise
        if self._on_waited is not None:
            self._on_waited(self._clock() - began)
        with self._lock:
            if waiter.served:
                return waiter.session
            self._waiters.remove(waiter)
        text = (
            f"all {self._limits.size} sessions of the pool stayed in use for {self._limits.wait:g} s "
            "(EMAIL_POOL_TIMEOUT); raise EMAIL_POOL_SIZE if the relay allows more connections"
        )
        raise SessionUnavailable(classify_failure(Failure(FailureKind.TIMEOUT, Phase.POOL, text)))

    def _stop_waiting(self, waiter: _Waiter) -> None:
        """Leave the queue, and pass on what was given meanwhile."""
        with self._lock:
            if not waiter.served:
                self._waiters.remove(waiter)
                return
        if waiter.session is None:
            self._release_place()
        else:
            self._give_back(waiter.session)

    def _open(self, deadline: Deadline, attempt: int, lane: Lane) -> Session:
        generation = self._generation
        try:
            session = self._open_session(deadline, attempt, lane)
        except BaseException:
            if generation is self._generation:
                self._release_place()
            raise
        with self._lock:
            self._opened += 1
        return session

    # -- giving back

    def _give_back(self, session: Session) -> None:
        reason = session.reason_to_end(self._limits, self._clock())
        if reason is not None:
            self._discard(session, reason)
            return
        with self._lock:
            waiter = self._next_waiter()
            if waiter is None:
                self._idle.append(session)
            else:
                waiter.session = session
                waiter.event.set()

    def _discard(self, session: Session, reason: str) -> None:
        self._release_place()
        self._close([(session, reason)])

    def _release_place(self) -> None:
        """A session ended: whoever waits longest may open another in its place."""
        with self._lock:
            waiter = self._next_waiter()
            if waiter is None:
                self._taken -= 1
            else:
                waiter.event.set()

    def _next_waiter(self) -> _Waiter | None:
        if not self._waiters:
            return None
        waiter = self._waiters.popleft()
        waiter.served = True
        return waiter

    def _close(self, sessions: list[tuple[Session, str]]) -> None:
        for session, reason in sessions:
            session.close()
            self._on_closed(session, reason)
        if sessions:
            with self._lock:
                self._closed += len(sessions)


_pools: weakref.WeakSet[SessionPool] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

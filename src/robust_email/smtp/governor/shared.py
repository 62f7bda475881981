"""``SharedGovernor``: limits, breaker and what is learnt of one relay and account, over a store that many share.

Start reading here. The rules are in the pure books (``rates``, ``permits``, ``breaker``, ``adaptive``); here they meet
the store, the heartbeat and the process's own view of who waits.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import secrets
import threading
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from robust_email.smtp.address import masked
from robust_email.smtp.events import CircuitClosed, CircuitOpened, GovernorDegraded, GovernorRestored, notify, silent
from robust_email.smtp.governor import adaptive, books
from robust_email.smtp.governor.breaker import shows_endpoint_well, speaks_of_endpoint
from robust_email.smtp.governor.fallback import StoreWithFallback
from robust_email.smtp.governor.heartbeat import Heartbeat
from robust_email.smtp.governor.interface import GovernorState, Permit, Probe, Wait
from robust_email.smtp.governor.permits import Demand, Hold, PermitBook
from robust_email.smtp.governor.rates import Request
from robust_email.smtp.outcome import Disposition

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.smtp.events import Listener
    from robust_email.smtp.governor.adaptive import Pressure
    from robust_email.smtp.governor.interface import Observation, Store
    from robust_email.smtp.governor.limits import RelayLimits
    from robust_email.smtp.lane import Lane
    from robust_email.smtp.outcome import Verdict

NO_LIMIT = 10_000
"""Connections where none are configured: more than anybody has, so that adaptation alone lowers it."""
GLANCE = 0.5
"""Seconds for which what was learnt is taken as read before a message; connections ask anew."""
NOBODY = Demand(0, 99)


class SharedGovernor:
    """One relay and account under control; see ``interface.Governor`` for what each method promises."""

    def __init__(
        self,
        endpoint: str,
        account: str,
        limits: RelayLimits,
        store: Store,
        *,
        listener: Listener = silent,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """Ask nothing yet.

        Args:
            endpoint: ``host:port``; all who use it share its circuit.
            account: whose limits these are: the endpoint and who logs in, in any form that shows no address.
            limits: the same for all who share them.
            store: shared, or ``MemoryStore`` for one process.
            listener: is told of circuits and of the store's going and coming.
            clock: this process's monotonic seconds; limits go by the store's clock.
            dice: for jitter; as ``random.random``.
        """
        self._endpoint, self._limits, self._clock, self._dice = endpoint, limits, clock, dice
        self._listener = listener
        self._store = StoreWithFallback(store, limits, clock, self._store_changed)
        self._most = limits.connections or NO_LIMIT
        self._per_window = min((rate.limit for rate in limits.rates), default=1)
        self._circuit = books.circuit_book(endpoint)
        self._pressure = books.pressure_book(account, self._most)
        self._rates = books.rate_book(account, max((rate.seconds for rate in limits.rates), default=0.0))
        self._permits = books.permit_book(account, limits.lease)
        self._heartbeat = Heartbeat(self.beat, min(1.0, limits.lease / 5))
        self._when_wanted: list[weakref.WeakMethod[Callable[[], object]]] = []
        self._begin()
        _governors.add(self)

    def _begin(self) -> None:
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._holds: dict[str, Hold] = {}
        self.demand = NOBODY
        self._seen: tuple[Pressure, float, float] | None = None
        self._successes, self._told_at = 0, float("-inf")

    def forget_after_fork(self) -> None:
        """In a forked child: the parent holds what it held; the child is somebody else."""
        self._begin()
        self._heartbeat.forget_after_fork()
        self._store.forget_after_fork()

    @property
    def most_connections(self) -> int | None:
        """The configured limit."""
        return self._limits.connections

    # -- asking

    def circuit(self) -> Wait | Probe | None:
        """Ask before a session is opened."""
        name = self._next_name()
        return self._store.run(
            lambda store, limits: self._circuit.change(
                store, lambda circuit, now: circuit.ask(limits.breaker, now, name)
            )
        )

    def connection(self, lane: Lane, patience: float) -> Permit | Wait:
        """Ask for leave to open a session."""
        name = self._next_name()
        wait = self._store.run(lambda store, limits: self._ask_connection(store, limits, name, lane, patience))
        if wait is not None:
            return wait
        with self._lock:
            self._holds[name] = Hold(0.0, 0.0, int(lane))
        self._heartbeat.start()
        return HeldPermit(self, name, self._clock())

    def message(self, lane: Lane, recipients: int, patience: float, *, only_look: bool = False) -> Wait | None:
        """Ask before a transaction begins."""
        if not (self._limits.rates or self._limits.adaptive):
            return None
        return self._store.run(
            lambda store, limits: self._ask_message(
                store, limits, Request(self._caller, lane, recipients, patience, 0.0, only_look=only_look)
            )
        )

    def _ask_connection(self, store: Store, limits: RelayLimits, name: str, lane: Lane, patience: float) -> Wait | None:
        pressure, now = self._look(store, 0.0)
        if held_back := pressure.login_pause(now) or pressure.pause(now):
            return held_back
        most = limits.connections or NO_LIMIT
        limit = min(most, pressure.concurrency) if limits.adaptive else most

        def take(book: PermitBook, now: float) -> tuple[float, Demand]:
            wait = book.take(name, limit, limits.lease, Request(self._caller, lane, 0, patience, now))
            return wait, book.demand()

        wait, self.demand = self._permits.change(store, take)
        return Wait(wait, f"all {limit} connections that the relay may be given are in use") if wait else None

    def _ask_message(self, store: Store, limits: RelayLimits, request: Request) -> Wait | None:
        pressure, now = self._look(store, GLANCE)
        if held_back := pressure.pause(now):
            return held_back
        if not limits.rates:
            return None
        factor = pressure.factor if limits.adaptive else 1.0
        wait = self._rates.change(store, lambda book, now: book.take(limits.rates, factor, replace(request, now=now)))
        text = f"the limit of {', '.join(map(str, limits.rates))} is used up"
        return Wait(wait, text + (f" (lowered to {factor:.0%})" if factor < 1 else "")) if wait else None

    def _next_name(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    @property
    def _caller(self) -> str:
        return f"{self._name}-{threading.get_ident()}"

    def _look(self, store: Store, no_older_than: float) -> tuple[Pressure, float]:
        """What was learnt of the account, and the store's time."""
        seen = self._seen
        if seen is not None and self._clock() - seen[2] < no_older_than:
            return seen[0], seen[1] + self._clock() - seen[2]
        pressure, now = self._pressure.look(store)
        self._seen = (pressure, now, self._clock())
        return pressure, now

    # -- holding connections

    def when_wanted(self, give_up_idle: Callable[[], object]) -> None:
        """Call this when idle connections are wanted elsewhere."""
        self._when_wanted.append(weakref.WeakMethod(give_up_idle))

    def release(self, name: str, *, used: bool) -> None:
        """End a hold; called by the permit."""
        with self._lock:
            held = self._holds.pop(name, None)
        if held is not None:
            self._store.run(
                lambda store, _: self._permits.change(store, lambda book, now: book.release(name, now, used=used))
            )

    def _held(self) -> dict[str, Hold]:
        with self._lock:
            return dict(self._holds)

    def beat(self) -> bool:
        """Renew what this process holds and see who waits; whether there is anything to renew."""
        if not self._held():
            return False
        try:
            self.demand = self._store.run(
                lambda store, limits: self._permits.change(
                    # Looked up anew in each try: what is given back meanwhile must not be renewed.
                    store,
                    lambda book, now: book.renew(self._held(), limits.lease, now),
                )
            )
            if self.demand.waiting:
                for hook in self._when_wanted:
                    if (give_up_idle := hook()) is not None:
                        give_up_idle()
        except Exception:  # the thread must live while something is held
            _logger.exception("Renewing the connections held to %s failed", self._endpoint)
        return True

    # -- learning

    def observe(self, observation: Observation) -> None:
        """Learn how the relay did."""
        verdict = observation.verdict
        try:
            if verdict is None:
                self._session_opened()
            elif verdict.disposition is Disposition.ACCEPTED:
                self._accepted()
            else:
                self._went_wrong(verdict, observation.probe)
        except Exception:  # learning must not cost a mail
            _logger.exception("Learning from %s failed", self._endpoint)

    def give_back(self, probe: Probe) -> None:
        """Let somebody else try."""
        try:
            self._store.run(lambda store, _: self._circuit.change(store, lambda circuit, _: circuit.give_back(probe)))
        except Exception:  # whoever waits for it waits no longer than a probe may take
            _logger.exception("A probe of %s could not be given back", self._endpoint)

    def _session_opened(self) -> None:
        self._endpoint_is_well()
        if self._seen is not None and self._seen[0].logins_refused:
            self._alter(lambda pressure, _: pressure.logged_in())

    def _endpoint_is_well(self) -> None:
        outage = self._store.run(
            lambda store, _: self._circuit.change(store, lambda circuit, now: circuit.succeeded(now))
        )
        if outage is not None:
            notify(self._listener, CircuitClosed(self._endpoint, outage))

    def _accepted(self) -> None:
        """Tell the others of successes, many at a time, and only while they can change something."""
        if not self._limits.adaptive:
            return
        with self._lock:
            self._successes += 1
            due = self._clock() - self._told_at >= GLANCE
            if not due:
                return
            self._told_at = self._clock()
            count, self._successes = self._successes, 0
        pressure, _ = self._store.run(lambda store, _: self._look(store, GLANCE))
        if not pressure.is_calm(self._most):
            self._alter(lambda pressure, _: pressure.succeeded(count, self._most, self._per_window))

    def _went_wrong(self, verdict: Verdict, probe: Probe | None) -> None:
        reason = masked(verdict.reason)
        if shows_endpoint_well(verdict):
            self._endpoint_is_well()
        elif speaks_of_endpoint(verdict):
            opened = self._store.run(
                lambda store, limits: self._circuit.change(
                    store, lambda circuit, now: circuit.failed(limits.breaker, reason, now, self._dice(), probe)
                )
            )
            if opened:
                notify(self._listener, CircuitOpened(self._endpoint, reason))
        if adaptive.refuses_login(verdict):
            self._alter(lambda pressure, now: pressure.login_refused(reason, now))
        elif self._limits.adaptive and adaptive.is_pressure(verdict):
            in_use = self._store.run(lambda store, _: len(self._permits.look(store)[0].holds))
            pause = adaptive.named_pause(verdict)
            self._alter(lambda pressure, now: pressure.pressed(reason, pause, in_use, now))

    def _alter(self, how: Callable[[Pressure, float], None]) -> None:
        self._store.run(lambda store, _: self._pressure.change(store, how))
        self._seen = None

    # -- showing

    def state(self) -> GovernorState:
        """Look, without changing anything."""
        return self._store.run(self._state)

    def _state(self, store: Store, limits: RelayLimits) -> GovernorState:
        circuit, now = self._circuit.look(store)
        pressure, _ = self._pressure.look(store)
        permits, _ = self._permits.look(store)
        permits.advance(now)
        rates, _ = self._rates.look(store)
        pause = pressure.login_pause(now) or pressure.pause(now)
        waiting = permits.queue.by_lane()
        uses = rates.uses(limits.rates, pressure.factor if limits.adaptive else 1.0, now)
        for lane, count in rates.queue.by_lane().items():
            waiting[lane] += count
        most = limits.connections or NO_LIMIT
        limit = min(most, pressure.concurrency) if limits.adaptive else most
        return GovernorState(
            circuit=circuit.standing,
            reason=circuit.reason or (pause.reason if pause else ""),
            retry_in=max(0.0, circuit.retry_at - now) if circuit.standing == "open" else 0.0,
            connections=len(permits.holds),
            connection_limit=None if limit >= NO_LIMIT else limit,
            waiting=waiting,
            rates=uses,
            paused_for=pause.seconds if pause else 0.0,
            degraded=self._store.degraded,
        )

    def _store_changed(self, reason: str | None) -> None:
        event = GovernorRestored(self._endpoint) if reason is None else GovernorDegraded(self._endpoint, reason)
        notify(self._listener, event)

    @property
    def turn(self) -> float:
        """Seconds for which a busy connection is kept while others wait."""
        return self._limits.turn

    def now(self) -> float:
        """This process's clock."""
        return self._clock()


class HeldPermit:
    """One connection held, as ``interface.Permit`` has it; who waits was seen at the last heartbeat."""

    def __init__(self, governor: SharedGovernor, name: str, since: float) -> None:
        self._governor = governor
        self._name = name
        self._since = since

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a connection."""
        return self._governor.demand.waiting > 0

    def overdue(self, lane: Lane) -> bool:
        """Whether a busy holder should give up: at once for a higher lane, else after a turn."""
        demand = self._governor.demand
        if not demand.waiting:
            return False
        return demand.highest_lane < lane or self._governor.now() - self._since >= self._governor.turn

    def release(self, *, used: bool = True) -> None:
        """The connection ended."""
        try:
            self._governor.release(self._name, used=used)
        except Exception:  # its lease ends by itself
            _logger.exception("A connection's permit could not be given back")


_logger = logging.getLogger("robust_email.governor")
_governors: weakref.WeakSet[SharedGovernor] = weakref.WeakSet()


def _forget_all() -> None:
    for governor in list(_governors):
        governor.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

"""The process's submission clients: one for each relay, account and way to treat them.

Django makes a backend for every ``send_mail()`` and keeps none, so what should outlive a mail (the pool of sessions,
the resolver's answers) lives here, keyed by the frozen configuration. Two tenants with different credentials never
share a session; two backends with equal settings always do.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.core.signals import setting_changed

from robust_email.observability.logging import LogWriter
from robust_email.signals import relay_news
from robust_email.smtp.events import Event, Listener, PhaseTimed, notify

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from robust_email.governing import Governance
    from robust_email.smtp import SmtpConfig, SubmissionClient

MOST_CLIENTS: Final = 128
"""Clients kept. A shop with more tenants, or an access token that changes every hour, must not grow for ever."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """What makes two backends share sessions: the configuration, and what a project's own hooks depend on."""

    config: SmtpConfig
    connection_class: type | None = None
    context_source: Hashable = None
    governance: Governance | None = None


class Registry:
    """Clients by key, the most recently used last. For any thread."""

    def __init__(self, most_clients: int = MOST_CLIENTS) -> None:
        self._most_clients = most_clients
        self._clients: OrderedDict[ClientKey, SubmissionClient] = OrderedDict()
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = (LogWriter(), relay_news)
        self._of_phases: tuple[Listener, ...] = ()

    def client(self, key: ClientKey, make: Callable[[Listener], SubmissionClient]) -> SubmissionClient:
        """Return the client for a key; ``make`` is called with the listener to give it, if there is none yet."""
        with self._lock:
            client = self._clients.get(key)
            if client is not None:
                self._clients.move_to_end(key)
                return client
        made = make(self.notify)
        with self._lock:
            client = self._clients.setdefault(key, made)
            evicted = [self._clients.popitem(last=False)[1] for _ in range(len(self._clients) - self._most_clients)]
        for old in evicted:
            old.close()
        return client

    def subscribe(self, listener: Listener, *, phases: bool = False) -> None:
        """Let another listener hear the events of all clients, those that exist already included.

        ``phases``: ``PhaseTimed`` too, a handful for each mail, of the sessions opened from now on.
        """
        self._listeners = (*self._listeners, listener)
        if phases:
            self._of_phases = (*self._of_phases, listener)

    def wants_phases(self) -> bool:
        """Tell whether anybody wants ``PhaseTimed``."""
        return bool(self._of_phases)

    def unsubscribe(self, listener: Listener) -> None:
        """End a subscription; ``ValueError`` if there is none."""
        listeners = list(self._listeners)
        listeners.remove(listener)
        self._listeners = tuple(listeners)
        self._of_phases = tuple(each for each in self._of_phases if each != listener)

    def notify(self, event: Event) -> None:
        """Hand an event to every listener, whatever another one raises."""
        for listener in self._of_phases if isinstance(event, PhaseTimed) else self._listeners:
            notify(listener, event)

    def clients(self) -> dict[ClientKey, SubmissionClient]:
        """Return a snapshot, for pages and metrics that show the pools."""
        with self._lock:
            return dict(self._clients)

    def close(self) -> None:
        """Forget the clients and end their idle sessions, without waiting for any server's answer."""
        with self._lock:
            clients = list(self._clients.values())
            self._clients.clear()
        for client in clients:
            client.close()

    def renew_lock(self) -> None:
        """Replace the lock, which another thread of the parent may have held at the fork. Pools see to themselves."""
        self._lock = threading.Lock()


registry: Final = Registry()
"""The one of this process."""


def _close_on_changed_settings(*, setting: str, **_: object) -> None:
    if setting == "MAILERS" or setting.startswith("EMAIL_"):
        registry.close()


setting_changed.connect(_close_on_changed_settings, dispatch_uid="robust_email.registry")
os.register_at_fork(after_in_child=registry.renew_lock)
atexit.register(registry.close)

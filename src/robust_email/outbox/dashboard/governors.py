"""How the governor of a relay sees it: breaker, connections and rates, where a store is shared with the workers.

A relay by reference is not looked at (its resolver may cost what it likes), nor one whose governor knows this web
process alone. Reading never opens a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ImproperlyConfigured

from robust_email.backend import RobustSMTPEmailBackend
from robust_email.outbox.relays import DEFAULT, MAILER, Relay, backend_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.smtp.governor import GovernorState

_OF_THIS_PROCESS: Final = ("", "memory")


@dataclass(frozen=True, slots=True)
class Governed:
    """One endpoint of a relay, ``host:port``, and its state."""

    endpoint: str
    state: GovernorState

    @property
    def circuit(self) -> str:
        """The breaker's state as a colour knows it."""
        return {"closed": "accepted", "half-open": "deferred"}.get(self.state.circuit, "refused")


def governed(name: str) -> list[Governed]:
    """Return the endpoints behind a relay's name; none where nothing is shared, or the relay cannot be built."""
    if name != DEFAULT and not name.startswith(MAILER):
        return []
    try:
        return list(_looked_at(name))
    except (ImproperlyConfigured, ImportError, OSError, ValueError):
        return []  # the page is for finding out what is wrong: it says so elsewhere, and must open


def _looked_at(name: str) -> Iterator[Governed]:
    backend = backend_for(Relay(name))
    if not isinstance(backend, RobustSMTPEmailBackend) or (backend.options.governor or "") in _OF_THIS_PROCESS:
        return
    client = backend.client()
    clients = [relay.client for relay in client.relays] if hasattr(client, "relays") else [client]
    for each in clients:
        if each.governor is not None:
            yield Governed(each.config.endpoint, each.governor.state())

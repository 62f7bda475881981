"""The configuration by itself: what can be seen to be wrong before anything is asked of the network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from robust_email.providers import provider_of_host
from robust_email.smtp import TlsMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit

_UNUSUAL: Final = {TlsMode.NONE: {465, 587}, TlsMode.STARTTLS: {465}, TlsMode.IMPLICIT: {25, 587}}
"""Ports that go with another kind of TLS (RFC 6409 3.1, RFC 8314 3.3)."""
TLS_WORDS: Final = {
    TlsMode.NONE: "no TLS",
    TlsMode.STARTTLS: "required STARTTLS",
    TlsMode.IMPLICIT: "TLS from the first octet",
}


def examine(visit: Visit) -> Iterator[Finding]:
    """Say what is configured, and judge it."""
    config = visit.config
    mode = config.tls.mode
    login = "logging in" if config.credentials else "without a log-in"
    yield visit.note(
        "configuration",
        f"{config.endpoint} with {TLS_WORDS[mode]}, {login}; time-out {config.timeouts.command:g} s, "
        f"pool of {config.pool.size}",
    )
    if config.port in _UNUSUAL[mode]:
        yield visit.note("port-unusual", f"port {config.port} does not go with {TLS_WORDS[mode]}")
    provider = provider_of_host(config.host)
    if provider and provider.connections and config.pool.size > provider.connections:
        yield visit.note(
            "pool-above-provider",
            f"{provider.title} allows {provider.connections} connections at a time, and the pool of each process may "
            f"have {config.pool.size}",
        )
    for note in visit.plan.notes:
        yield replace(note, found=visit.conceal(note.found), remedy=visit.conceal(note.remedy))

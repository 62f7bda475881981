"""TCP to each address of the relay, side by side, so that one dead family or host is seen."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robust_email.doctor.explaining import cause_of_failure
from robust_email.doctor.findings import Severity
from robust_email.doctor.probes.nameservers import is_local
from robust_email.smtp.net.failures import failure_of
from robust_email.smtp.net.race import EveryAddressFailed, connect_first
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit
    from robust_email.smtp.net.resolver import SocketAddress

_MOST_ADDRESSES: Final = 16


@dataclass(frozen=True, slots=True)
class _Attempt:
    address: SocketAddress
    seconds: float
    error: OSError | None


def examine(visit: Visit) -> Iterator[Finding]:
    """Connect to each address; the first that answered is used from here on."""
    addresses = visit.addresses[:_MOST_ADDRESSES]
    with ThreadPoolExecutor(len(addresses)) as pool:
        attempts = list(pool.map(lambda address: _connect(visit, address), addresses))
    working = [attempt for attempt in attempts if attempt.error is None]
    if working:
        visit.address = working[0].address
        visit.opening_seconds += working[0].seconds
    ipv6_only_broken = bool(working) and all(
        (attempt.error is not None) == (attempt.address.family == socket.AF_INET6) for attempt in attempts
    )
    for attempt in attempts:
        yield from _judge(visit, attempt, others_work=bool(working), ipv6_only_broken=ipv6_only_broken)


def _connect(visit: Visit, address: SocketAddress) -> _Attempt:
    error: OSError | None = None
    with visit.timed() as watch:
        try:
            connect_first([address], visit.opening_deadline(), visit.config.source_address).close()
        except EveryAddressFailed as exc:
            error = exc.tried[0][1]
    return _Attempt(address, watch.seconds, error)


def _judge(visit: Visit, attempt: _Attempt, *, others_work: bool, ipv6_only_broken: bool) -> Iterator[Finding]:
    error, seconds = attempt.error, attempt.seconds
    if error is None:
        yield visit.note("tcp", f"connected to {attempt.address}", seconds=seconds)
        if seconds > visit.slow:
            yield visit.note("tcp-slow", f"{attempt.address} took {seconds:.1f} s to connect", seconds=seconds)
        return
    found = f"{attempt.address}: {os.strerror(error.errno) if error.errno else error}"
    if not others_work:
        code = cause_of_failure(failure_of(error, Phase.CONNECT, visit.config.endpoint), error)
        if code == "tcp-refused" and visit.in_container and is_local(visit.first_hop.host):
            code = "host-is-this-container"
        yield visit.note(code, found, seconds=seconds)
    elif ipv6_only_broken:
        yield visit.note("tcp-ipv6-broken", found, seconds=seconds)
    else:
        yield visit.note("tcp-address-down", found, seconds=seconds, severity=Severity.WARNING)

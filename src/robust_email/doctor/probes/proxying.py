"""The proxy on the way to the relay: whether it lets us through, and reaches the relay itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robust_email.smtp.failure import SessionFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit


def examine(visit: Visit) -> Iterator[Finding]:
    """Go through it once."""
    proxy = visit.config.proxy
    if proxy is None:
        return
    failed = ""
    with visit.timed() as watch:
        try:
            visit.connect().abort()
        except SessionFailure as exc:
            failed = exc.failure.text
    if failed:
        visit.address = None  # nothing behind it can be reached
        yield visit.note("proxy-failed", failed, seconds=watch.seconds)
    else:
        found = f"the {proxy.kind.value} proxy {proxy.endpoint} leads to {visit.config.endpoint}"
        yield visit.note("proxy", found, seconds=watch.seconds)

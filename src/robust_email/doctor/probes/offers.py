"""EHLO: our name, and what the server offers (RFC 5321 4.1.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robust_email.doctor.trouble import Trouble, slowness, trouble
from robust_email.smtp import TlsMode
from robust_email.smtp.opening import hello
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit


def examine(visit: Visit) -> Iterator[Finding]:
    """Say EHLO and judge the offer."""
    line = visit.line
    if line is None:
        return
    line.stream.new_step()
    error = None
    with visit.timed() as watch:
        try:
            visit.extensions = hello(line.dialogue, visit.own_name, visit.opening_deadline())
        except Trouble as exc:
            error = exc
    visit.opening_seconds += watch.seconds
    if error is not None:
        yield trouble(visit, error, watch.seconds)
        visit.hang_up()
        return
    visit.identified = visit.config.tls.mode is not TlsMode.STARTTLS
    yield from _judge(visit, watch.seconds)


def _judge(visit: Visit, seconds: float) -> Iterator[Finding]:
    offered = visit.extensions
    if not offered.keywords:
        yield visit.note("ehlo-unknown", f"as {visit.own_name!r}: the server offers no extension", seconds=seconds)
        return
    words = ", ".join(f"{word} {value}".strip() for word, value in offered.keywords.items())
    yield visit.note("ehlo", f"as {visit.own_name!r}; offered: {words}", seconds=seconds)
    yield from slowness(visit, Phase.EHLO, seconds)
    if "PIPELINING" not in offered:
        yield visit.note("no-pipelining", "the server answers each command before it takes the next")
    if offered.size is not None and offered.size < visit.plan.message_octets:
        yield visit.note("size-small", f"the server takes mails of at most {offered.size} octets")
    if visit.config.tls.mode is TlsMode.NONE:
        yield _unencrypted(visit)


def _unencrypted(visit: Visit) -> Finding:
    local = visit.line is not None and visit.line.stream.peer_is_loopback
    if "STARTTLS" in visit.extensions and not local:
        return visit.note("tls-available-unused", "nothing is encrypted, and the server could")
    return visit.note("tls-none", "nothing is encrypted" + (", on this machine's loopback" if local else ""))

"""The greeting (RFC 5321 3.1); and where none comes, who it is that listens there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robust_email.doctor.service import Service, speaks_in_clear, speaks_tls
from robust_email.doctor.trouble import Trouble, refused, slowness, trouble
from robust_email.smtp import Deadline, TlsMode
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Line, Visit
    from robust_email.smtp.failure import SessionFailure
    from robust_email.smtp.opening import SessionUnavailable


def examine(visit: Visit) -> Iterator[Finding]:
    """Wait for the 220."""
    with visit.timed() as watch:
        heard = _listen(visit)
    visit.opening_seconds += watch.seconds
    if isinstance(heard, Reply) and heard.positive:
        yield visit.note("greeting", str(heard), seconds=watch.seconds)
        yield from slowness(visit, Phase.GREETING, watch.seconds)
        return
    if isinstance(heard, Service):
        found = f"no greeting within {visit.patience:g} s; {heard.who} answers on {visit.address}"
        yield visit.note(heard.code, found, seconds=watch.seconds)
    elif isinstance(heard, Reply):
        yield refused(visit, Phase.GREETING, heard, watch.seconds)
    else:
        yield trouble(visit, heard, watch.seconds)
    visit.drop()


def _listen(visit: Visit) -> Reply | Service | SessionFailure | SessionUnavailable:
    """Return the greeting, or who it is that does not greet, or what went wrong."""
    try:
        visit.line = line = visit.line or visit.new_line()
        other = _other_service(visit, line)
        if other is not None:
            return other
        return line.dialogue.next_reply(visit.opening_deadline())[1]
    except Trouble as exc:
        return exc


def _other_service(visit: Visit, line: Line) -> Service | None:
    """Where nothing comes for a while on a connection in clear, find out whether another protocol is meant."""
    if visit.config.tls.mode is TlsMode.IMPLICIT:
        return None
    try:
        line.stream.wait(read=True, write=False, deadline=Deadline.after(visit.patience, visit.clock))
    except TimeoutError:
        pass
    else:
        return None
    if speaks_tls(visit):
        return Service("port-speaks-tls", "a server that speaks TLS from the first octet")
    found = speaks_in_clear(visit)
    return found if found and found.code != "port-speaks-plain" else None

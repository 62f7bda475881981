"""How fast the relay is, whether a session can be used again, and, on request, how long it may lie idle."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from robust_email.doctor.trouble import Trouble
from robust_email.smtp import Deadline
from robust_email.smtp.address import ReversePath
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.states import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Line, Visit

_ROUND_TRIPS: Final = 3
"""To measure: Exim ends a session after ten commands without a mail."""


def examine(visit: Visit) -> Iterator[Finding]:
    """Measure, on the session that is open."""
    line = visit.line
    if line is None:
        return
    try:
        yield _latency(visit, line)
    except Trouble as exc:
        yield visit.note("reuse-refused", f"the session ended after the first envelope: {exc}")
        visit.hang_up()
        return
    yield from _reuse(visit, line)
    if visit.plan.idle and visit.line is not None:
        yield _idle(visit, line)


def _latency(visit: Visit, line: Line) -> Finding:
    measured = []
    for _ in range(_ROUND_TRIPS):
        with visit.timed() as watch:
            line.ask(Verb.NOOP, commands.NOOP, visit.step_deadline())
        measured.append(watch.seconds)
    round_trip = statistics.median(measured)
    chunked, pipelined = (word in visit.extensions for word in ("CHUNKING", "PIPELINING"))
    trips = (
        "one round trip" if chunked and pipelined else "two round trips" if pipelined else "four round trips or more"
    )
    return visit.note(
        "latency",
        f"a command and its reply take {round_trip * 1000:.1f} ms; a new session took "
        f"{visit.opening_seconds * 1000:.0f} ms, which each mail on a session from the pool saves; such a mail needs "
        f"{trips}",
        seconds=round_trip,
    )


def _reuse(visit: Visit, line: Line) -> Iterator[Finding]:
    sender = visit.plan.sender
    if not sender or not visit.envelope_taken:
        return
    path = ReversePath.of(sender)
    octets = commands.mail(path.to_path(smtputf8=path.needs_smtputf8), *["SMTPUTF8"] * path.needs_smtputf8)
    try:
        reply = line.ask(Verb.MAIL, octets, visit.step_deadline())
        if reply.positive:
            line.ask(Verb.RSET, commands.RSET, visit.step_deadline())
    except Trouble as exc:
        yield visit.note("reuse-refused", f"a second mail on the same session: {exc}")
        visit.hang_up()
        return
    if not reply.positive:
        yield visit.note("reuse-refused", f"a second mail on the same session: {reply}")
        return
    yield visit.note("reuse", "the session took a second envelope")
    most = visit.extensions.max_messages
    if most is not None and most < visit.config.pool.max_messages:
        yield visit.note("messages-limited", f"the server takes {most} mails per session (LIMITS MAILMAX, RFC 9422)")


def _idle(visit: Visit, line: Line) -> Finding:
    """Wait for the server to end the unused session, as long as was asked for."""
    patience, kept = visit.plan.idle, visit.config.pool.max_idle
    with visit.timed() as watch:
        ended = _ends_within(line, Deadline.after(patience, visit.clock))
    if not ended:
        return visit.note("idle-kept", f"a session unused for {patience:g} s is still open", seconds=watch.seconds)
    visit.hang_up()
    code = "idle-limit-below-pool" if watch.seconds <= kept else "idle-limit"
    found = f"the server ends a session that was unused for {watch.seconds:.0f} s; the pool keeps one for {kept:g} s"
    return visit.note(code, found, seconds=watch.seconds)


def _ends_within(line: Line, deadline: Deadline) -> bool:
    while True:
        try:
            line.stream.wait(read=True, write=False, deadline=deadline)
        except TimeoutError:
            return False
        if not line.stream.liveness().alive:  # TLS session tickets are no sign of an end
            return True

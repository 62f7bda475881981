"""A dry run: MAIL and RCPT, then RSET. Whatever the server says to them, nothing is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robust_email.doctor.trouble import Trouble, refused, slowness, trouble
from robust_email.smtp.address import ForwardPath, InvalidAddress, ReversePath
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.states import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit


def examine(visit: Visit) -> Iterator[Finding]:
    """Offer an envelope; the recipient is the one given, or the sender itself."""
    plan = visit.plan
    if not plan.sender:
        yield visit.note("envelope-not-tried", "no sender is known")
        return
    try:
        sender = ReversePath.of(plan.sender)
        recipient = ForwardPath.of(plan.recipient or plan.sender)
    except InvalidAddress as exc:
        yield visit.note("sender-malformed", str(exc))
        return
    utf8 = sender.needs_smtputf8 or recipient.needs_smtputf8
    if utf8 and "SMTPUTF8" not in visit.extensions:
        yield visit.note("mail-unfit", "the address is not ASCII and the server does not offer SMTPUTF8 (RFC 6531)")
        return
    steps = (
        (Phase.MAIL, Verb.MAIL, commands.mail(sender.to_path(smtputf8=utf8), *_parameters(visit, utf8=utf8))),
        (Phase.RCPT, Verb.RCPT, commands.rcpt(recipient.to_path(smtputf8=utf8))),
    )
    yield from _say(visit, steps)
    _reset(visit)


def _parameters(visit: Visit, *, utf8: bool) -> list[str]:
    size = visit.extensions.size
    parameters = ["SMTPUTF8"] if utf8 else []
    if "SIZE" in visit.extensions:
        parameters.append(f"SIZE={min(visit.plan.message_octets, size or visit.plan.message_octets)}")
    return parameters


def _say(visit: Visit, steps: tuple[tuple[Phase, Verb, bytes], ...]) -> Iterator[Finding]:
    line = visit.line
    if line is None:
        return
    total = 0.0
    for phase, verb, octets in steps:
        error = None
        with visit.timed() as watch:
            try:
                reply = line.ask(verb, octets, visit.step_deadline())
            except Trouble as exc:
                error = exc
        total += watch.seconds
        if error is not None:
            yield trouble(visit, error, watch.seconds)
            visit.hang_up()
            return
        if not reply.positive:
            yield refused(visit, phase, reply, watch.seconds)
            return
        yield from slowness(visit, phase, watch.seconds)
    visit.envelope_taken = True
    yield visit.note("envelope", f"sender and recipient were taken: {reply}", seconds=total)


def _reset(visit: Visit) -> None:
    """End the transaction; a session that cannot even do that is of no further use."""
    if visit.line is None:
        return
    try:
        reply = visit.line.ask(Verb.RSET, commands.RSET, visit.step_deadline())
    except Trouble:
        visit.hang_up()
        return
    if not reply.positive:
        visit.hang_up()

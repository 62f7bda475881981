"""A real mail to the recipient that was asked for, step by step, to the reply to the end of data."""

from __future__ import annotations

import email.utils
import secrets
from typing import TYPE_CHECKING

from robust_email.doctor.trouble import Trouble, refused, slowness, trouble
from robust_email.smtp import Deadline, Envelope, MailData
from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.opening import SessionUnavailable
from robust_email.smtp.phases import Phase
from robust_email.smtp.preparation import Prepared, Unfit, prepare
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.datastream import dot_stuff
from robust_email.smtp.protocol.replies import Reply, ReplyClass
from robust_email.smtp.protocol.states import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit

_BODY = (
    "This mail was sent by `email_doctor` to see whether mail from this application arrives.\r\n"
    "It was submitted to {endpoint}. Nothing needs to be done.\r\n"
)


def examine(visit: Visit) -> Iterator[Finding]:
    """Submit a short mail."""
    plan = visit.plan
    try:
        envelope = Envelope.of(plan.sender, [plan.recipient])
        prepared = prepare(envelope, _data(visit), envelope.forward_paths, visit.extensions)
    except ValueError as exc:
        yield visit.note("sender-malformed", str(exc))
        return
    except Unfit as exc:
        yield visit.note("mail-unfit", str(exc))
        return
    with visit.timed() as watch:
        outcome = _submit(visit, prepared)
    if isinstance(outcome, (SessionFailure, SessionUnavailable)):
        yield trouble(visit, outcome, watch.seconds)
        visit.hang_up()
        return
    phase, reply = outcome
    if not reply.positive:
        yield refused(visit, phase, reply, watch.seconds)
        visit.hang_up()
        return
    yield visit.note("mail-accepted", str(reply), seconds=watch.seconds)
    yield from slowness(visit, phase, watch.seconds)


def _submit(visit: Visit, prepared: Prepared) -> tuple[Phase, Reply] | SessionFailure | SessionUnavailable:
    """Return the first reply that is a no, or the last one, with its phase."""
    line = visit.line
    if line is None:
        raise RuntimeError("there is no session")
    timeouts = visit.config.timeouts

    def say(verb: Verb, octets: bytes, seconds: float = timeouts.command) -> Reply:
        line.stream.new_step()
        return line.dialogue.ask(verb, octets, deadline=Deadline.after(seconds, visit.clock))

    steps = (
        (Phase.MAIL, Verb.MAIL, prepared.mail_line),
        (Phase.RCPT, Verb.RCPT, prepared.rcpt_lines[0]),
        (Phase.DATA, Verb.DATA, commands.DATA),
    )
    try:
        for phase, verb, octets in steps:
            reply = say(verb, octets)
            if reply.klass >= ReplyClass.TRANSIENT:
                return phase, reply
        return Phase.AWAIT_FINAL, say(Verb.END_OF_DATA, dot_stuff(prepared.content), timeouts.final_reply)
    except Trouble as exc:
        return exc


def _data(visit: Visit) -> MailData:
    plan = visit.plan
    date = email.utils.format_datetime(visit.surroundings.now())
    domain = plan.sender.rpartition("@")[2]
    lines = (
        f"From: {plan.sender}",
        f"To: {plan.recipient}",
        "Subject: A test by email_doctor",
        f"Date: {date}",
        f"Message-ID: <{secrets.token_hex(16)}@{domain}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        _BODY.format(endpoint=visit.config.endpoint),
    )
    return MailData.from_bytes("\r\n".join(lines).encode())

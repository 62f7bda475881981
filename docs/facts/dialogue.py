"""The state machine and the verdicts, from the tables that the engine itself decides by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facts.markdown import beside, code, table
from robust_email.smtp import outcome, phases
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.outcome import CODE_RULES, classify_failure, classify_reply
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import Reply, ReplyClass
from robust_email.smtp.protocol.states import MAY_SEND, TRANSITIONS, SessionState, Verb

if TYPE_CHECKING:
    from robust_email.smtp.outcome import Verdict

_DIGITS = {
    ReplyClass.POSITIVE: "2yz",
    ReplyClass.INTERMEDIATE: "3yz",
    ReplyClass.TRANSIENT: "4yz",
    ReplyClass.PERMANENT: "5yz",
}
_LAST = (451, 550)
"""A code without a rule of its own, for each class that refuses."""
_WITHOUT_REPLIES = {Phase.POOL, Phase.RESOLVE, Phase.CONNECT, Phase.TLS}


def states_page() -> str:
    """Return the reference page of the session's state machine."""
    may_send = (
        (code(state.value), ", ".join(code(verb.value) for verb in _ordered(MAY_SEND[state])) or "nothing")
        for state in SessionState
    )
    moves = (
        (code(t.state.value), code(t.verb.value), ", ".join(digits(t.classes)), code(t.then.value)) for t in TRANSITIONS
    )
    return f"""# States of a session

The engine's protocol core is a table (`robust_email/smtp/protocol/states.py`); this page and the picture are made from
it. Which command is legal, and what a reply leads to, stands there and nowhere else.

```{{image}} /pictures/states.svg
:alt: The states of an SMTP session and the replies that lead from one to the next
```

`await final` is entered *before* the write that carries the end-of-data mark is attempted. **In doubt is: the session
ended in `await final`**, or while octets that complete a message had left. It is read off the machine and the count of
octets handed over; no `except` clause guesses it. {{doc}}`/explanation/in-doubt` tells why there must be such a state.

## What may be said

{table(("State", "Legal commands"), may_send)}
## What a reply leads to

421 leads to `must quit` from everywhere, and the reply to `QUIT` to `closed`. A reply without a row here ends the
session. With pipelining, commands leave before the replies to earlier ones are read; the rows that lead from a state to
itself cover commands that were under way when an earlier one was refused.

{table(("State", "Command", "Reply", "Then"), moves)}"""


def verdicts_page() -> str:
    """Return the reference page of verdicts."""
    rows = (
        (
            code(phase.value),
            *(_verdict_of_reply(phase, code_) for code_ in _LAST),
            _verdict(classify_failure(Failure(FailureKind.RESET, phase, ""))),
            _verdict(classify_failure(Failure(FailureKind.TIMEOUT, phase, ""))),
        )
        for phase in Phase
    )
    exceptions = (
        (code(rule.code), f"{rule.disposition.value}, {rule.scope.value}", rule.source) for rule in CODE_RULES
    )
    dispositions = beside(outcome, "Disposition")
    scopes = beside(outcome, "Scope")
    return f"""# Verdicts

For every recipient of every message there is exactly one verdict: a *disposition* (what became of it), a *scope* (who
else is hit by the same cause), a *phase* (how far it got), and the reply or failure that decided. A verdict is found by
code and phase, never by the text of a reply, and this page is made from the tables that find it
(`robust_email/smtp/outcome.py`).

## Dispositions

{table(("Disposition", "Meaning"), ((code(each.value), dispositions[each.name]) for each in outcome.Disposition))}
## By phase

The first digit decides for codes that nobody listed (RFC 5321 4.3.2).

{table(("Phase", "4yz", "5yz", "Connection lost", "Time-out"), rows)}
A positive reply in `await-final` is *accepted*, for the recipients whose RCPT was accepted before.

## Codes with a rule of their own

{table(("Code", "Verdict", "Source"), exceptions)}
452 or 552 on a RCPT after others were accepted means "enough for one transaction" (RFC 5321 4.5.3.1.10): those
recipients follow at once, in another transaction of the same session.

## Scopes

{table(("Scope", "Meaning"), ((code(each.value), scopes[each.name] or _SCOPES[each.name]) for each in outcome.Scope))}
## Phases

{table(("Phase", "Meaning"), ((code(each.value), _phase_meaning(each)) for each in Phase))}"""


_SCOPES = {
    "RECIPIENT": "This recipient; the others of the message are judged by their own replies.",
    "TRANSACTION": "This message, for all of its recipients.",
    "SESSION": "This session, which is closed; another one may do.",
    "ENDPOINT": "This relay: whoever tries it now would meet the same.",
}

_PHASES = {
    "POOL": "Waiting for a free session of the pool.",
    "RESOLVE": "Looking up the relay's name.",
    "CONNECT": "TCP.",
    "TLS": "The handshake, and the certificate.",
    "GREETING": "Waiting for the server's 220.",
    "EHLO": "Our name, and what the server offers.",
    "STARTTLS": "The command; the handshake is `tls`.",
    "AUTH": "Logging in.",
    "RSET": "Clearing the way for another message on the same session.",
    "MAIL": "The sender.",
    "RCPT": "A recipient.",
    "DATA": "The request to take the message.",
    "BODY": "The message is on its way, its end has not left.",
}


def _phase_meaning(phase: Phase) -> str:
    return beside(phases, "Phase").get(phase.name) or _PHASES[phase.name]


def _verdict_of_reply(phase: Phase, code_: int) -> str:
    return "no replies" if phase in _WITHOUT_REPLIES else _verdict(classify_reply(phase, Reply(code_)))


def _verdict(verdict: Verdict) -> str:
    return f"{verdict.disposition.value}, {verdict.scope.value}"


def digits(classes: frozenset[ReplyClass]) -> list[str]:
    """Name classes of replies by their first digits; all of them are "any"."""
    if set(_DIGITS) <= classes:
        return ["any"]
    return [_DIGITS[each] for each in ReplyClass if each in classes and each in _DIGITS]


def _ordered(verbs: frozenset[Verb]) -> list[Verb]:
    return [verb for verb in Verb if verb in verbs]

"""From what was observed to the verdict: pure, by table, by code and phase, never by text.

The rules are data so that they can be read, counted and tested one by one (``tests/core/test_outcome.py``
fails when a phase has no rows). The first digit decides for codes nobody listed (RFC 5321 4.3.2).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import Reply, ReplyClass


class Disposition(enum.Enum):
    """What became of one recipient of one message."""

    ACCEPTED = "accepted"
    """The server took responsibility. Never submitted again."""
    DEFERRED = "deferred"
    """The server does not have it; the same octets may be submitted again."""
    REFUSED = "refused"
    """Refused for good."""
    IN_DOUBT = "in-doubt"
    """The session ended after the end of data and before the reply: the server may have it."""


class Scope(enum.Enum):
    """Who else is hit by the same cause."""

    RECIPIENT = "recipient"
    TRANSACTION = "transaction"
    SESSION = "session"
    ENDPOINT = "endpoint"
    CONFIGURATION = "configuration"
    """Nobody retries until a person acts."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one truth about one recipient, and its reason: a reply, or a failure where none came."""

    disposition: Disposition
    scope: Scope
    phase: Phase
    reply: Reply | None = None
    failure: Failure | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same octets may be submitted again without doubling anything."""
        return self.disposition is Disposition.DEFERRED

    @property
    def reason(self) -> str:
        """What the server said, or what happened, in one printable line."""
        if self.reply is not None:
            return str(self.reply)
        return self.failure.text if self.failure is not None else ""


_A, _D, _R, _I = Disposition.ACCEPTED, Disposition.DEFERRED, Disposition.REFUSED, Disposition.IN_DOUBT
_P = Phase
_Rule = tuple[Disposition, Scope]

REPLY_RULES: dict[tuple[Phase, ReplyClass], _Rule] = {
    # A 5yz greeting speaks of the host, not of the mail (as Postfix's smtp_skip_5xx_greeting has it).
    (_P.GREETING, ReplyClass.TRANSIENT): (_D, Scope.ENDPOINT),
    (_P.GREETING, ReplyClass.PERMANENT): (_D, Scope.ENDPOINT),
    (_P.EHLO, ReplyClass.TRANSIENT): (_D, Scope.ENDPOINT),
    (_P.EHLO, ReplyClass.PERMANENT): (_R, Scope.CONFIGURATION),
    (_P.STARTTLS, ReplyClass.TRANSIENT): (_D, Scope.ENDPOINT),
    (_P.STARTTLS, ReplyClass.PERMANENT): (_R, Scope.CONFIGURATION),
    (_P.AUTH, ReplyClass.TRANSIENT): (_D, Scope.ENDPOINT),
    (_P.AUTH, ReplyClass.PERMANENT): (_R, Scope.CONFIGURATION),
    # A refused RSET leaves the session unusable; the mail behind it was not taken.
    (_P.RSET, ReplyClass.TRANSIENT): (_D, Scope.SESSION),
    (_P.RSET, ReplyClass.PERMANENT): (_D, Scope.SESSION),
    (_P.MAIL, ReplyClass.TRANSIENT): (_D, Scope.TRANSACTION),
    (_P.MAIL, ReplyClass.PERMANENT): (_R, Scope.TRANSACTION),
    (_P.RCPT, ReplyClass.TRANSIENT): (_D, Scope.RECIPIENT),
    (_P.RCPT, ReplyClass.PERMANENT): (_R, Scope.RECIPIENT),
    (_P.DATA, ReplyClass.TRANSIENT): (_D, Scope.TRANSACTION),
    (_P.DATA, ReplyClass.PERMANENT): (_R, Scope.TRANSACTION),
    # Between BDAT chunks; with DATA the server is silent here.
    (_P.BODY, ReplyClass.TRANSIENT): (_D, Scope.TRANSACTION),
    (_P.BODY, ReplyClass.PERMANENT): (_R, Scope.TRANSACTION),
    (_P.AWAIT_FINAL, ReplyClass.POSITIVE): (_A, Scope.TRANSACTION),
    (_P.AWAIT_FINAL, ReplyClass.TRANSIENT): (_D, Scope.TRANSACTION),
    (_P.AWAIT_FINAL, ReplyClass.PERMANENT): (_R, Scope.TRANSACTION),
    # No reply class that fits: the server has the whole message and said nothing we can read.
    (_P.AWAIT_FINAL, ReplyClass.INTERMEDIATE): (_I, Scope.SESSION),
}


@dataclass(frozen=True, slots=True)
class CodeRule:
    """An exception to the first digit, with the text that grants it."""

    code: int
    phases: frozenset[Phase]
    disposition: Disposition
    scope: Scope
    source: str


_TRANSACTION_PHASES = frozenset({_P.MAIL, _P.RCPT, _P.DATA, _P.BODY, _P.AWAIT_FINAL})
_BEFORE_FINAL = _TRANSACTION_PHASES - {_P.AWAIT_FINAL}

CODE_RULES: tuple[CodeRule, ...] = (
    CodeRule(421, _TRANSACTION_PHASES, _D, Scope.SESSION, "RFC 5321 3.8: the server closes this channel"),
    CodeRule(503, _BEFORE_FINAL, _R, Scope.CONFIGURATION, "RFC 5321 4.2.2: bad sequence, AUTH or STARTTLS missing"),
    CodeRule(530, _BEFORE_FINAL, _R, Scope.CONFIGURATION, "RFC 4954 6, RFC 3207 4: log in, or encrypt, first"),
    CodeRule(535, _BEFORE_FINAL, _R, Scope.CONFIGURATION, "RFC 4954 6: credentials invalid"),
    CodeRule(538, _BEFORE_FINAL, _R, Scope.CONFIGURATION, "RFC 4954 6: encryption required"),
)

TOO_MANY_RECIPIENTS = frozenset({452, 552})
"""On a RCPT after an accepted one: enough for one transaction (RFC 5321 4.5.3.1.10)."""

_LOCAL_FAILURES: dict[FailureKind, _Rule] = {
    FailureKind.NOT_OFFERED: (_R, Scope.TRANSACTION),
    FailureKind.TOO_LARGE: (_R, Scope.TRANSACTION),
    FailureKind.CLEAR_TEXT: (_R, Scope.CONFIGURATION),
    FailureKind.LOCAL: (_R, Scope.CONFIGURATION),
}


def classify_reply(phase: Phase, reply: Reply, *, accepted_before: bool = False) -> Verdict:
    """The verdict of a reply that ends the attempt for whoever it was about.

    ``accepted_before``: a RCPT of this transaction was accepted earlier. A reply class that the phase
    cannot have (a 250 to DATA) is a session that lost its thread: DEFERRED, before the end of data.
    """
    if phase is Phase.RCPT and accepted_before and reply.code in TOO_MANY_RECIPIENTS:
        return Verdict(_D, Scope.RECIPIENT, phase, reply)
    for rule in CODE_RULES:
        if rule.code == reply.code and phase in rule.phases:
            return Verdict(rule.disposition, rule.scope, phase, reply)
    disposition, scope = REPLY_RULES.get((phase, reply.klass), (_D, Scope.SESSION))
    return Verdict(disposition, scope, phase, reply)


def classify_failure(failure: Failure) -> Verdict:
    """The verdict where no reply came: before the end of data safe, after it in doubt."""
    if failure.phase is Phase.AWAIT_FINAL:
        return Verdict(_I, Scope.SESSION, failure.phase, failure=failure)
    if failure.kind in _LOCAL_FAILURES:
        disposition, scope = _LOCAL_FAILURES[failure.kind]
        if failure.phase.opens_session:
            scope = Scope.CONFIGURATION
        return Verdict(disposition, scope, failure.phase, failure=failure)
    if failure.kind is FailureKind.THROTTLED:
        return Verdict(_D, Scope.ENDPOINT, failure.phase, failure=failure)
    # A full pool is no fault of the relay's: it must not open the relay's breaker.
    opening = failure.phase.opens_session and failure.phase is not Phase.POOL
    return Verdict(_D, Scope.ENDPOINT if opening else Scope.SESSION, failure.phase, failure=failure)

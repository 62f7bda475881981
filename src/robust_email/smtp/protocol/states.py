"""The session's state machine as a table (RFC 5321 4.1.4).

Rule 1: whatever decides which command is legal, or what a reply leads to, stands in these tables.
Rule 2: no state without a way out, and the two terminal states admit nothing.
The diagram in the documentation is generated from here.

With pipelining, commands leave before the replies to earlier ones are read. A reply can then meet a state
in which its command would not have been sent: a RCPT answered 503 because its MAIL was refused. Such rows
are part of the table; they lead nowhere new.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from robust_email.smtp.protocol.replies import ReplyClass


class SessionState(enum.Enum):
    """Where the dialogue stands, judged by the replies that were read."""

    AWAIT_GREETING = "await greeting"
    IDENTIFY = "identify"
    READY = "ready"
    TLS_PENDING = "TLS pending"
    AUTHENTICATING = "authenticating"
    TRANSACTION = "transaction"
    DATA = "data"
    AWAIT_FINAL = "await final"
    """The end-of-data mark is with the server. A session that ends here leaves the mail in doubt."""
    MUST_QUIT = "must quit"
    CLOSED = "closed"


class Verb(enum.Enum):
    """What the client says; ``CONNECT`` and ``TLS`` stand for the two things that are not commands."""

    CONNECT = "connect"
    EHLO = "EHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    TLS = "TLS handshake"
    AUTH = "AUTH"
    AUTH_RESPONSE = "AUTH response"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    END_OF_DATA = "end of data"
    BDAT = "BDAT"
    BDAT_LAST = "BDAT LAST"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"

    @property
    def carries_final_mark(self) -> bool:
        """Whether the server may take the message once the last octet of this arrived."""
        return self in _FINAL_MARKS


_FINAL_MARKS = frozenset({Verb.END_OF_DATA, Verb.BDAT_LAST})

_S, _V, _R = SessionState, Verb, ReplyClass

MAY_SEND: dict[SessionState, frozenset[Verb]] = {
    _S.AWAIT_GREETING: frozenset(),
    _S.IDENTIFY: frozenset({_V.EHLO, _V.HELO, _V.QUIT}),
    _S.READY: frozenset({_V.STARTTLS, _V.AUTH, _V.MAIL, _V.RSET, _V.NOOP, _V.QUIT, _V.EHLO}),
    _S.TLS_PENDING: frozenset({_V.TLS}),
    _S.AUTHENTICATING: frozenset({_V.AUTH_RESPONSE}),
    _S.TRANSACTION: frozenset({_V.RCPT, _V.DATA, _V.BDAT, _V.BDAT_LAST, _V.RSET, _V.NOOP, _V.QUIT}),
    _S.DATA: frozenset({_V.END_OF_DATA}),
    _S.AWAIT_FINAL: frozenset(),
    _S.MUST_QUIT: frozenset({_V.QUIT}),
    _S.CLOSED: frozenset(),
}
"""Commands that are legal once every earlier command has succeeded."""


class Transition(NamedTuple):
    """A reply of one of ``classes`` to ``verb``, read in ``state``, leads to ``then``."""

    state: SessionState
    verb: Verb
    classes: frozenset[ReplyClass]
    then: SessionState


_OK = frozenset({_R.POSITIVE})
_GO_ON = frozenset({_R.INTERMEDIATE})
_NO = frozenset({_R.TRANSIENT, _R.PERMANENT})
_ANY = frozenset(_R)

TRANSITIONS: tuple[Transition, ...] = (
    Transition(_S.AWAIT_GREETING, _V.CONNECT, _OK, _S.IDENTIFY),
    Transition(_S.AWAIT_GREETING, _V.CONNECT, _NO, _S.MUST_QUIT),
    Transition(_S.IDENTIFY, _V.EHLO, _OK, _S.READY),
    Transition(_S.IDENTIFY, _V.EHLO, _NO, _S.IDENTIFY),
    Transition(_S.IDENTIFY, _V.HELO, _OK, _S.READY),
    Transition(_S.IDENTIFY, _V.HELO, _NO, _S.MUST_QUIT),
    Transition(_S.READY, _V.EHLO, _OK, _S.READY),
    Transition(_S.READY, _V.EHLO, _NO, _S.MUST_QUIT),
    Transition(_S.READY, _V.STARTTLS, _OK, _S.TLS_PENDING),
    Transition(_S.READY, _V.STARTTLS, _NO, _S.READY),
    Transition(_S.TLS_PENDING, _V.TLS, _OK, _S.IDENTIFY),
    Transition(_S.READY, _V.AUTH, _GO_ON, _S.AUTHENTICATING),
    Transition(_S.READY, _V.AUTH, _OK | _NO, _S.READY),
    Transition(_S.AUTHENTICATING, _V.AUTH_RESPONSE, _GO_ON, _S.AUTHENTICATING),
    Transition(_S.AUTHENTICATING, _V.AUTH_RESPONSE, _OK | _NO, _S.READY),
    Transition(_S.READY, _V.MAIL, _OK, _S.TRANSACTION),
    Transition(_S.READY, _V.MAIL, _NO, _S.READY),
    Transition(_S.TRANSACTION, _V.RCPT, _OK | _NO, _S.TRANSACTION),
    Transition(_S.TRANSACTION, _V.DATA, _GO_ON, _S.DATA),
    Transition(_S.TRANSACTION, _V.DATA, _NO, _S.TRANSACTION),
    Transition(_S.TRANSACTION, _V.BDAT, _OK, _S.TRANSACTION),
    Transition(_S.TRANSACTION, _V.BDAT, _NO, _S.TRANSACTION),
    Transition(_S.DATA, _V.END_OF_DATA, _ANY, _S.READY),
    Transition(_S.AWAIT_FINAL, _V.END_OF_DATA, _ANY, _S.READY),
    Transition(_S.TRANSACTION, _V.BDAT_LAST, _ANY, _S.READY),
    Transition(_S.AWAIT_FINAL, _V.BDAT_LAST, _ANY, _S.READY),
    # Pipelined behind something refused: answered, and nothing changes.
    Transition(_S.READY, _V.RCPT, _NO, _S.READY),
    Transition(_S.READY, _V.DATA, _NO, _S.READY),
    Transition(_S.READY, _V.BDAT, _NO, _S.READY),
    Transition(_S.READY, _V.BDAT_LAST, _NO, _S.READY),
    # A server may swallow the chunk of a transaction it refused and still say 250 (Exim, without RSET).
    Transition(_S.READY, _V.BDAT_LAST, _OK, _S.READY),
    Transition(_S.TRANSACTION, _V.MAIL, _NO, _S.TRANSACTION),
    *(Transition(state, _V.RSET, _OK, _S.READY) for state in (_S.READY, _S.TRANSACTION)),
    # RSET cannot be refused (RFC 5321 4.1.1.5): the server is leaving (Exim's 554), or an earlier reply was surplus.
    *(Transition(state, _V.RSET, _NO, _S.MUST_QUIT) for state in (_S.READY, _S.TRANSACTION)),
    *(Transition(state, _V.NOOP, _OK | _NO, state) for state in (_S.READY, _S.TRANSACTION)),
)

_BY_EVENT = {(t.state, t.verb, klass): t.then for t in TRANSITIONS for klass in t.classes}

SERVICE_CLOSING = 421
"""In any state: the server closes the channel (RFC 5321 3.8)."""


def after_reply(state: SessionState, verb: Verb, code: int) -> SessionState | None:
    """The state after ``code`` answered ``verb``; ``None`` if the table has no such row.

    421 leads to ``MUST_QUIT`` from everywhere, and ``MUST_QUIT`` is left by the end of the connection
    alone: replies to commands that were already under way are still read there.
    """
    if verb is Verb.QUIT:
        return SessionState.CLOSED
    if code == SERVICE_CLOSING or state is SessionState.MUST_QUIT:
        return SessionState.MUST_QUIT
    return _BY_EVENT.get((state, verb, ReplyClass(code // 100)))


def if_it_succeeds(state: SessionState, verb: Verb) -> SessionState:
    """The state that a pipelining client may assume while the reply is still under way."""
    if verb is Verb.QUIT:
        return SessionState.CLOSED
    hoped_for = ReplyClass.INTERMEDIATE if verb is Verb.DATA else ReplyClass.POSITIVE
    return _BY_EVENT[state, verb, hoped_for]

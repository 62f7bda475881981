"""One session, from the greeting to the end: opened, identified, encrypted, authenticated, then many transactions.

A ``Session`` that exists is ready for mail: ``open_session`` publishes none before TLS and AUTH are complete
(Django's CVE-2026-7666 was a session used after a failed STARTTLS).
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robust_email.smtp.dialogue import Dialogue
from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.login import Login
from robust_email.smtp.opening import SessionUnavailable, identify
from robust_email.smtp.outcome import classify_failure
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.states import SessionState, Verb
from robust_email.smtp.wire import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.smtp.config import PoolLimits, SmtpConfig
    from robust_email.smtp.dialogue import Timed
    from robust_email.smtp.governor import Permit
    from robust_email.smtp.net.connector import Connector
    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.protocol.extensions import Extensions
    from robust_email.smtp.protocol.replies import Reply
    from robust_email.smtp.transcript import Transcript

_numbers = itertools.count(1)


@dataclass(slots=True)
class Usage:
    """What a session has been through. Times are the clock's seconds."""

    opened_at: float
    last_used: float
    transactions: int = 0
    accepted: int = 0
    refusals_in_a_row: int = 0


class Session:
    """A session ready for mail. Not for two threads at once: the pool leases it."""

    def __init__(
        self, dialogue: Dialogue, extensions: Extensions, config: SmtpConfig, now: float, login: Login | None = None
    ) -> None:
        """Made by ``open_session`` alone. ``login``: credentials that may change meanwhile."""
        self.number = next(_numbers)
        self.dialogue = dialogue
        self.extensions = extensions
        self.config = config
        self.login = login
        self.usage = Usage(now, now)
        self._max_age = config.pool.max_age * (1 - random.random() / 10)  # noqa: S311 - so that they don't end together
        self.broken = False
        """Set when the dialogue can't go on; such a session is never offered again."""
        self.permit: Permit | None = None
        """Leave to hold this connection, where a governor counts them."""

    def transport(self, *, stepwise: bool = False) -> Transport:
        """How transactions may be written to this server, by its latest EHLO."""
        wire = self.config.wire
        if stepwise or not wire.pipelining or "PIPELINING" not in self.extensions:
            return Transport.STEPWISE
        if wire.chunking and "CHUNKING" in self.extensions:
            return Transport.CHUNKED
        return Transport.PIPELINED

    @property
    def ready(self) -> bool:
        """Whether another transaction can begin here, as far as the dialogue goes."""
        protocol = self.dialogue.protocol
        return (
            not self.broken
            and protocol.state in {SessionState.READY, SessionState.TRANSACTION}
            and protocol.outstanding is None
        )

    def reason_to_end(self, limits: PoolLimits, now: float) -> str | None:
        """Why this session should not be used again, judged without touching the network."""
        if not self.ready:
            return "ended by the server" if self.dialogue.protocol.closing_reply else "broken"
        if self.login is not None and self.login.outdated:
            return "credentials"
        most = min(limits.max_messages, self.extensions.max_messages or limits.max_messages)
        reasons = {
            "age": now - self.usage.opened_at >= self._max_age,
            "idle": now - self.usage.last_used >= limits.max_idle,
            "messages": self.usage.transactions >= most,
            "refusals": self.usage.refusals_in_a_row >= limits.max_refusals,
            "wanted elsewhere": self.permit is not None and self.permit.wanted,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def is_alive(self) -> bool:
        """Look at the socket, without a round trip, for an end of connection or something unsolicited, a 421 mostly."""
        alive = not self.dialogue.protocol.has_buffered_input and self.dialogue.stream.liveness().alive
        self.broken = self.broken or not alive
        return alive

    def command(self, verb: Verb, line: bytes, deadline: Deadline) -> Reply:
        """One command outside a transaction of ours. Raises ``SessionFailure``."""
        try:
            return self.dialogue.ask(verb, line, deadline=deadline)
        except SessionFailure:
            self.broken = True
            raise

    def close(self) -> None:
        """QUIT without waiting for the answer: a slow 221 must not delay anybody (RFC 5321 allows to ask, no more)."""
        dialogue = self.dialogue
        if self.ready:
            dialogue.say(Verb.QUIT, commands.QUIT)
            dialogue.flush_now()
        dialogue.protocol.connection_ended()
        dialogue.stream.close()
        self.broken = True

    def abort(self) -> None:
        """End the connection without a word: after a time-out, or in a forked child."""
        self.broken = True
        self.dialogue.abort()


def open_session(
    connector: Connector,
    config: SmtpConfig,
    deadline: Deadline,
    *,
    clock: Callable[[], float],
    transcript: Transcript | None = None,
    timed: Timed | None = None,
) -> Session:
    """Connect, and go through greeting, EHLO, STARTTLS and AUTH, all within ``deadline``.

    Credentials that a provider gave and the server refused are asked for once more: they may have been renewed.
    Raises ``SessionUnavailable`` with the verdict; nothing is left open then.
    """
    for attempt in (1, 2):
        login = Login.now(config, deadline)
        try:
            return _opened(connector, config, login, deadline, clock, transcript, timed)
        except SessionUnavailable as exc:
            has_others = login is not None and login.note_refusal(exc.verdict)
            if attempt == 2 or not has_others:  # noqa: PLR2004 - the second was the last
                raise
    raise AssertionError("the second attempt returns or raises")


def _opened(  # noqa: PLR0917 - what open_session was given
    connector: Connector,
    config: SmtpConfig,
    login: Login | None,
    deadline: Deadline,
    clock: Callable[[], float],
    transcript: Transcript | None,
    timed: Timed | None,
) -> Session:
    try:
        stream = connector.connect(deadline)
    except SessionFailure as exc:
        raise SessionUnavailable(classify_failure(exc.failure)) from (exc.__cause__ or exc)
    dialogue = Dialogue(stream, config.endpoint, config.timeouts, clock, transcript, timed=timed)
    try:
        extensions = identify(dialogue, login.fitted(config) if login else config, deadline)
    except SessionFailure as exc:
        dialogue.abort()
        raise SessionUnavailable(classify_failure(exc.failure)) from (exc.__cause__ or exc)
    except BaseException:
        dialogue.abort()
        raise
    return Session(dialogue, extensions, config, clock(), login)

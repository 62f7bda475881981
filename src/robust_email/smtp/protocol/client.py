"""The client's half of the dialogue: what may be said, what is outstanding, what a loss would mean.

Sans-IO, in the manner of h11: ``send`` queues octets, ``octets_to_write``/``wrote`` hand them over with an exact
count, ``receive`` takes what came, ``next_reply`` gives each reply with the command it answers.

Commands may be queued before earlier replies are read (RFC 2920): legality is judged by the state that the
outstanding commands lead to if they succeed. A message may have been taken by the server as soon as the last
octet of its end-of-data mark was handed to the operating system: ``may_have_been_taken`` tells.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from robust_email.smtp.protocol import states
from robust_email.smtp.protocol.replies import Reply, ReplyClass, ReplyReader, ReplySyntaxError
from robust_email.smtp.protocol.states import SessionState, Verb


class IllegalCommandError(Exception):
    """Our own mistake: the command is not legal in this state. The state is unchanged."""


class ProtocolViolationError(Exception):
    """The server's mistake: no reply, a reply too many, or one that its command cannot have.

    ``reply`` is the reply that came uncalled-for, where it was one.
    """

    def __init__(self, text: str, reply: Reply | None = None) -> None:
        """Say what was wrong."""
        super().__init__(text)
        self.reply = reply


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A command whose reply is outstanding. ``token`` is whatever the caller wants to find it by."""

    verb: Verb
    end: int
    """Octets written on this connection once the whole command, body included, was handed over."""
    token: object = None
    alone: bool = False
    """Whether nothing else was outstanding when it was said, so that no other command's reply can pass for its own."""


_AWAITS_MORE = frozenset({SessionState.TLS_PENDING, SessionState.DATA})
"""Where something behind the reply has a meaning of its own: an injection, or a refusal before the message was sent."""


class ClientProtocol:
    """One connection's dialogue, from before the greeting until it is closed."""

    def __init__(self) -> None:
        """The greeting is outstanding; nothing may be sent."""
        self.state = SessionState.AWAIT_GREETING
        self._reader = ReplyReader()
        self._outstanding: deque[Sent] = deque([Sent(Verb.CONNECT, 0)])
        self._assumed = SessionState.AWAIT_GREETING
        self._to_write: deque[memoryview] = deque()
        self._queued = 0
        self._written = 0
        self.closing_reply: Reply | None = None
        """The 421 that announced the end, or the refusal of RSET that comes to the same, if one was read."""

    # -- out

    @property
    def assumed_state(self) -> SessionState:
        """The state if every outstanding command succeeds: what ``send`` is judged by."""
        return self._assumed if self._outstanding else self.state

    def send(self, verb: Verb, *octets: bytes, token: object = None) -> Sent:
        """Queue a command (and, for BDAT and the end of data, the message) and expect one reply.

        Raises ``IllegalCommandError`` if the state forbids it; nothing is queued then.
        """
        state = self.assumed_state
        if verb not in states.MAY_SEND[state]:
            raise IllegalCommandError(f"{verb.value} is not legal in state {state.value!r}")
        self._queue(octets)
        sent = Sent(verb, self._queued, token, alone=not self._outstanding)
        self._assumed = states.if_it_succeeds(state, verb)
        self._outstanding.append(sent)
        return sent

    def _queue(self, octets: tuple[bytes, ...]) -> None:
        for part in octets:
            if part:
                self._to_write.append(memoryview(part))
                self._queued += len(part)

    def octets_to_write(self) -> tuple[memoryview, ...]:
        """What is queued and not yet handed over, in order."""
        return tuple(self._to_write)

    @property
    def unwritten(self) -> int:
        """Octets queued and not yet handed over."""
        return sum(map(len, self._to_write))

    def wrote(self, count: int) -> None:
        """``count`` octets were handed to the operating system."""
        self._written += count
        while count:
            first = self._to_write[0]
            if count < len(first):
                self._to_write[0] = first[count:]
                break
            count -= len(first)
            self._to_write.popleft()
        head = self._outstanding[0] if self._outstanding else None
        if head is not None and head.verb.carries_final_mark and self.is_written(head) and self._in_transaction():
            self.state = SessionState.AWAIT_FINAL

    def _in_transaction(self) -> bool:
        return self.state in {SessionState.TRANSACTION, SessionState.DATA}

    def is_written(self, sent: Sent) -> bool:
        """Whether every octet of ``sent`` was handed over."""
        return sent.end <= self._written

    def may_have_been_taken(self, sent: Sent) -> bool:
        """Whether the server can have taken the message that ``sent`` ends."""
        return sent.verb.carries_final_mark and self.is_written(sent)

    # -- in

    @property
    def outstanding(self) -> Sent | None:
        """The command whose reply comes next; ``None`` when nothing is awaited."""
        return self._outstanding[0] if self._outstanding else None

    @property
    def has_buffered_input(self) -> bool:
        """Whether octets came that belong to no reply read so far."""
        return self._reader.has_buffered

    def receive(self, octets: bytes) -> None:
        """Take what the peer wrote."""
        self._reader.feed(octets)

    def next_reply(self) -> tuple[Sent, Reply] | None:
        """The next reply and its command; ``None`` when more octets are needed.

        Raises ``ProtocolViolationError``; the connection must be closed then, or replies shift by one.
        """
        try:
            reply = self._reader.next_reply()
        except ReplySyntaxError as exc:
            self.state = SessionState.CLOSED
            raise ProtocolViolationError(str(exc)) from exc
        if reply is None:
            return None
        if reply.code == states.SERVICE_CLOSING:
            self.closing_reply = self.closing_reply or reply
        if not self._outstanding:
            self.state = SessionState.MUST_QUIT
            raise ProtocolViolationError(f"the server said, unasked: {reply}", reply)
        return self._match(reply), reply

    def _match(self, reply: Reply) -> Sent:
        sent = self._outstanding[0]
        if self.closing_reply is not None and self.closing_reply.code != states.SERVICE_CLOSING:
            # So the refusal of RSET was no goodbye but a reply too many, and this one answers another command.
            self.state = SessionState.CLOSED
            raise ProtocolViolationError(f"the server refused RSET and went on with: {reply}", reply)
        then = states.after_reply(self.state, sent.verb, reply.code)
        if not self.is_written(sent):
            # A refusal may come while the body is still being written; what is left of it would be read as
            # commands, so the connection is of no further use. A yes to what was not yet asked is no answer.
            then = SessionState.MUST_QUIT if reply.klass >= ReplyClass.TRANSIENT else None
        if then is None:
            self.state = SessionState.CLOSED
            raise ProtocolViolationError(f"the server answered {sent.verb.value} with: {reply}", reply)
        if sent.verb is Verb.RSET and not reply.positive:
            self.closing_reply = self.closing_reply or reply
        if len(self._outstanding) == 1 and self._reader.has_buffered and then not in _AWAITS_MORE:
            then = self._with_surplus(sent)
        self._outstanding.popleft()
        self.state = then
        if then is SessionState.MUST_QUIT:
            # The server goes, or lost its place: whatever still left would only put a message in doubt.
            self._to_write.clear()
        self._enter_await_final()
        return sent

    def _with_surplus(self, sent: Sent) -> SessionState:
        """More came than was asked for. A 421 behind the last reply is a goodbye; anything else is a reply too many.

        Which of a group's replies was the one too many cannot be known, so the last is not believed. The reply to an
        end of data that was awaited alone is: nothing stood between. What comes later still is seen by the next look at
        the idle socket; between the two nothing can tell a shifted 250 from another, save DATA's 354.
        """
        try:
            surplus = self._reader.next_reply()
        except ReplySyntaxError:
            surplus = None
        if surplus is not None and surplus.code == states.SERVICE_CLOSING:
            self.closing_reply = self.closing_reply or surplus
        elif not (sent.alone and sent.verb.carries_final_mark):
            self.state = SessionState.CLOSED
            raise ProtocolViolationError(f"the server said more than was asked behind its reply to {sent.verb.value}")
        return SessionState.MUST_QUIT

    def _enter_await_final(self) -> None:
        head = self.outstanding
        if head is not None and self.may_have_been_taken(head) and self._in_transaction():
            self.state = SessionState.AWAIT_FINAL

    def tls_established(self) -> None:
        """The handshake after STARTTLS succeeded: the dialogue starts anew (RFC 3207 4.2).

        Raises ``ProtocolViolationError`` when plaintext came after the 220: somebody injected it.
        """
        if self._reader.has_buffered:
            self.state = SessionState.CLOSED
            raise ProtocolViolationError("octets in clear followed the reply to STARTTLS (injected?)")
        self.state = SessionState.IDENTIFY

    def connection_ended(self) -> None:
        """EOF, a time-out or an error: nothing more is read or written."""
        self.state = SessionState.CLOSED
        self._to_write.clear()

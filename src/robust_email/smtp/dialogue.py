"""The protocol joined to a stream: commands out, replies in, each within its time.

Every reply has a deadline of its own that no dripping of octets can stretch: it begins when the command was
handed over and its turn has come, and only the whole reply ends it. Replies are read while a long body is
still being written, so that neither side can block the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from robust_email.smtp.failure import Failure, FailureKind, SessionFailure
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.failures import failure_of
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.client import ClientProtocol, ProtocolViolationError, Sent
from robust_email.smtp.protocol.replies import ReplyClass
from robust_email.smtp.protocol.states import SessionState, Verb
from robust_email.smtp.transcript import client_line, server_lines

if TYPE_CHECKING:
    from ssl import SSLContext

    from robust_email.smtp.config import Timeouts
    from robust_email.smtp.net.bytestream import ByteStream
    from robust_email.smtp.protocol.replies import Reply
    from robust_email.smtp.transcript import Transcript

Timed = Callable[[Phase, float], None]
"""Called with a phase that ended and the seconds it took."""

BLOCK = 65_536
"""Octets that the server must take within ``Timeouts.block``."""

_AUTH = frozenset({Verb.AUTH, Verb.AUTH_RESPONSE})
_PHASES = {
    Verb.CONNECT: Phase.GREETING,
    Verb.EHLO: Phase.EHLO,
    Verb.HELO: Phase.EHLO,
    Verb.STARTTLS: Phase.STARTTLS,
    Verb.TLS: Phase.TLS,
    Verb.AUTH: Phase.AUTH,
    Verb.AUTH_RESPONSE: Phase.AUTH,
    Verb.MAIL: Phase.MAIL,
    Verb.RCPT: Phase.RCPT,
    Verb.DATA: Phase.DATA,
    Verb.BDAT: Phase.BODY,
}


class Dialogue:
    """One connection's commands and replies. After a ``SessionFailure`` it is good for nothing but ``abort``."""

    def __init__(
        self,
        stream: ByteStream,
        endpoint: str,
        timeouts: Timeouts,
        clock: Callable[[], float],
        transcript: Transcript | None,
        *,
        timed: Timed | None = None,
    ) -> None:
        """Nothing is read or written yet; the greeting is outstanding. ``timed`` hears of each phase that ended."""
        self.protocol = ClientProtocol()
        self.stream = stream
        self._endpoint = endpoint
        self._timeouts = timeouts
        self._clock = clock
        self._transcript = transcript
        self._timed = timed
        self._phase_began = clock() if timed is not None else 0.0
        self._writable = True
        self._patience = Deadline.never(clock)
        self._waiting_for: tuple[Sent | None, bool, int] | None = None
        self._written = 0

    def say(self, verb: Verb, *octets: bytes, token: object = None) -> Sent:
        """Queue a command; it leaves with the next ``next_reply`` or ``flush``."""
        if self._transcript is not None:
            self._transcript("C", client_line(verb, octets))
        if self._timed is not None and self.protocol.outstanding is None and verb is not Verb.AUTH_RESPONSE:
            self._phase_began = self._clock()
        return self.protocol.send(verb, *octets, token=token)

    def ask(self, verb: Verb, *octets: bytes, deadline: Deadline) -> Reply:
        """Say it, and wait for its reply; nothing else may be outstanding."""
        self.say(verb, *octets)
        return self.next_reply(deadline)[1]

    def next_reply(self, deadline: Deadline) -> tuple[Sent, Reply]:
        """Write what is queued and return the next reply with its command.

        Raises ``SessionFailure``: end of connection, time-out, or octets that are no reply.
        """
        while (found := self._parsed()) is None:
            self._exchange(deadline)
        sent, reply = found
        if self._transcript is not None:
            self._transcript("S", server_lines(reply, sent.verb))
        if self._timed is not None and not (sent.verb in _AUTH and reply.klass is ReplyClass.INTERMEDIATE):
            self._phase_ended(self._timed, self.phase_of(sent))
        return found

    def flush_now(self) -> None:
        """Hand over what can be handed over without waiting; failures will show with the next reply."""
        try:
            self._write()
        except OSError:
            self._writable = False

    def start_tls(self, context: SSLContext, deadline: Deadline) -> None:
        """Upgrade after a 220 to STARTTLS. Raises ``SessionFailure``."""
        if self.protocol.has_buffered_input:
            raise self._failure_at(
                Phase.STARTTLS, FailureKind.GARBAGE, "octets in clear followed the reply to STARTTLS (injection?)"
            )
        try:
            self.stream.start_tls(context, deadline)
        except (OSError, ValueError) as exc:  # ValueError: a host name that no certificate can carry
            raise SessionFailure(failure_of(exc, Phase.TLS, self._endpoint)) from exc
        self.protocol.tls_established()
        if self._timed is not None:
            self._phase_ended(self._timed, Phase.TLS)

    def phase_of(self, sent: Sent | None) -> Phase:
        """Where a loss would have happened while ``sent`` was outstanding."""
        if sent is None:
            return Phase.RSET
        if sent.verb.carries_final_mark:
            return Phase.AWAIT_FINAL if self.protocol.is_written(sent) else Phase.BODY
        return _PHASES.get(sent.verb, Phase.RSET)

    def abort(self) -> None:
        """End the connection at once; nothing more is said."""
        self.protocol.connection_ended()
        self.stream.abort()

    def _parsed(self) -> tuple[Sent, Reply] | None:
        try:
            return self.protocol.next_reply()
        except ProtocolViolationError as exc:
            phase = self.phase_of(self.protocol.outstanding)
            raise self._failure_at(phase, FailureKind.GARBAGE, str(exc)) from exc

    def _exchange(self, deadline: Deadline) -> None:
        """One round: hand over what the kernel takes, then wait for it to take more or for the peer to speak."""
        head = self.protocol.outstanding
        if head is not None and self.protocol.state is SessionState.MUST_QUIT and not self.protocol.is_written(head):
            raise self._failure_at(self.phase_of(head), FailureKind.CLOSED, "the server ended the session")
        try:
            self._write()
            patience = self._patience_for(head).within(deadline.remaining())
            unwritten = self._writable and self.protocol.unwritten > 0
            readable, _ = self.stream.wait(read=True, write=unwritten, deadline=patience)
            octets = self.stream.read_some() if readable else None
        except OSError as exc:
            raise SessionFailure(failure_of(exc, self.phase_of(head), self._endpoint)) from exc
        if octets:
            self.protocol.receive(octets)
        elif octets is not None:
            raise self._failure_at(self.phase_of(head), FailureKind.CLOSED, "the server closed the connection")

    def _write(self) -> None:
        """Write until the kernel takes no more. After a failed write only reading goes on.

        What the server said before it closed may still be waiting to be read, and it decides the verdict.
        """
        while self._writable and self.protocol.unwritten:
            try:
                count = self.stream.write_some(self.protocol.octets_to_write())
            except OSError:
                if self.protocol.outstanding is None:
                    raise
                self._writable = False
                return
            self.protocol.wrote(count)
            self._written += count
            if count == 0:
                return
        if self.protocol.outstanding is not None:
            self.stream.quickack()

    def _patience_for(self, head: Sent | None) -> Deadline:
        """The deadline of what is awaited now; it starts anew only when something was achieved."""
        written = head is None or self.protocol.is_written(head)
        key = (head, written, 0 if written else self._written // BLOCK)
        if key != self._waiting_for:
            if written and self._timed is not None and head is not None and head.verb.carries_final_mark:
                self._phase_ended(self._timed, Phase.BODY)
            self._waiting_for = key
            self._patience = Deadline.after(self._seconds_for(head, written=written), self._clock)
        return self._patience

    def _seconds_for(self, head: Sent | None, *, written: bool) -> float:
        if not written:
            return self._timeouts.block
        if head is not None and head.verb.carries_final_mark:
            return self._timeouts.final_reply
        return self._timeouts.command

    def _phase_ended(self, timed: Timed, phase: Phase) -> None:
        now = self._clock()
        began, self._phase_began = self._phase_began, now
        timed(phase, now - began)

    def _failure_at(self, phase: Phase, kind: FailureKind, text: str) -> SessionFailure:
        return SessionFailure(Failure(kind, phase, text))

"""One mail transaction: MAIL, RCPT for each recipient, the message, the final reply (RFC 5321 3.3).

``Transaction`` says its commands, takes the replies, and in the end reads its verdicts off them. How many commands
leave in one write depends on the transport; the order of commands and the meaning of replies do not. That a
message may have been taken is read off the protocol's count of octets handed over, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.outcome import Disposition, Scope, Verdict, classify_failure, classify_reply
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.datastream import END_OF_DATA, bdat_header, dot_stuff
from robust_email.smtp.protocol.replies import Reply, ReplyClass
from robust_email.smtp.protocol.states import SERVICE_CLOSING, SessionState, Verb
from robust_email.smtp.wire import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from robust_email.smtp.dialogue import Dialogue
    from robust_email.smtp.preparation import Prepared
    from robust_email.smtp.protocol.client import Sent

_LOST = frozenset({500, 503})
_NOT_IMPLEMENTED = frozenset({500, 501, 502, 503, 504})
_BAD_SEQUENCE = 503


@dataclass(frozen=True, slots=True)
class Manner:
    """How a transaction is written. ``reset_first``: something may still be open on this session."""

    transport: Transport
    reset_first: bool
    envelope_first: bool
    """Wait for the envelope's replies before the message goes (after idle, large, many recipients)."""

    @property
    def overlaps(self) -> bool:
        """Whether another transaction may follow before this one is answered."""
        return self.transport is Transport.CHUNKED and not self.envelope_first


class Transaction:
    """One transaction under way. ``waiting`` counts replies outstanding; ``finished`` means no more will come."""

    def __init__(self, prepared: Prepared, manner: Manner, before_final: Callable[[], None]) -> None:
        """``before_final`` is called before the end-of-data mark may leave; what it raises stops the message."""
        self.prepared = prepared
        self.manner = manner
        self._before_final = before_final
        self._outstanding: list[Sent] = []
        self._recipient_of: dict[Sent, int] = {}
        self._replies: dict[Verb, Reply] = {}
        self._rcpt_replies: list[Reply | None] = [None] * len(prepared.paths)
        self._final_mark: Sent | None = None
        self._steps: Iterator[None] = iter(())
        self.finished = False

    # -- saying

    def start(self, dialogue: Dialogue) -> None:
        """Say what can be said before the first reply."""
        self._steps = self._script(dialogue)
        self._go_on()

    def on_reply(self, sent: Sent, reply: Reply) -> None:
        """Take the reply to a command of this transaction; say what follows once all are in."""
        self._outstanding.remove(sent)
        recipient = self._recipient_of.get(sent)
        if recipient is None:
            self._replies[sent.verb] = reply
        else:
            self._rcpt_replies[recipient] = reply
        if not self._outstanding:
            self._go_on()

    def _go_on(self) -> None:
        if next(self._steps, self) is self:
            self.finished = True

    def _script(self, dialogue: Dialogue) -> Iterator[None]:
        """The commands in order; each ``yield`` waits for the replies to all that was said."""
        stepwise = self.manner.transport is Transport.STEPWISE
        if stepwise:
            yield from self._envelope_stepwise(dialogue)
        else:
            self._envelope_at_once(dialogue)
            if self.manner.envelope_first:
                yield
        answered = stepwise or self.manner.envelope_first
        if not answered or (self._envelope_stands() and dialogue.protocol.state is not SessionState.MUST_QUIT):
            yield from self._message(dialogue)

    def _envelope_stepwise(self, dialogue: Dialogue) -> Iterator[None]:
        """Each command after the reply to the one before it, as long as there is a point in going on."""
        if self.manner.reset_first:
            self._say(dialogue, Verb.RSET, commands.RSET)
            yield
            if not self._was_positive(Verb.RSET):
                return
        self._say(dialogue, Verb.MAIL, self.prepared.mail_line)
        yield
        if not self._was_positive(Verb.MAIL):
            return
        for index, line in enumerate(self.prepared.rcpt_lines):
            self._recipient_of[self._say(dialogue, Verb.RCPT, line)] = index
            yield
            if dialogue.protocol.state is SessionState.MUST_QUIT:
                return

    def _envelope_at_once(self, dialogue: Dialogue) -> None:
        if self.manner.reset_first:
            self._say(dialogue, Verb.RSET, commands.RSET)
        self._say(dialogue, Verb.MAIL, self.prepared.mail_line)
        for index, line in enumerate(self.prepared.rcpt_lines):
            self._recipient_of[self._say(dialogue, Verb.RCPT, line)] = index

    def _message(self, dialogue: Dialogue) -> Iterator[None]:
        content = self.prepared.content
        if self.manner.transport is Transport.CHUNKED:
            self._before_final()
            self._final_mark = self._say(dialogue, Verb.BDAT_LAST, bdat_header(len(content), last=True), content)
            yield
            return
        self._say(dialogue, Verb.DATA, commands.DATA)
        yield
        if self._replies[Verb.DATA].klass is not ReplyClass.INTERMEDIATE:
            return
        if dialogue.protocol.state is not SessionState.DATA:
            return
        if self._envelope_stands():
            self._before_final()
            self._final_mark = self._say(dialogue, Verb.END_OF_DATA, *_stuffed(content))
        else:
            # 354 although every recipient was refused: an empty message ends it, and its reply means nothing
            # (RFC 2920 3.1).
            self._say(dialogue, Verb.END_OF_DATA, END_OF_DATA)
        yield

    def _say(self, dialogue: Dialogue, verb: Verb, *octets: bytes) -> Sent:
        sent = dialogue.say(verb, *octets, token=self)
        self._outstanding.append(sent)
        return sent

    # -- reading off

    def _was_positive(self, verb: Verb) -> bool:
        reply = self._replies.get(verb)
        return reply is not None and reply.positive

    def _envelope_stands(self) -> bool:
        return self._was_positive(Verb.MAIL) and any(
            reply is not None and reply.positive for reply in self._rcpt_replies
        )

    @property
    def final_reply(self) -> Reply | None:
        """The reply to the end of data."""
        return self._replies.get(Verb.BDAT_LAST) or (
            self._replies.get(Verb.END_OF_DATA) if self._final_mark is not None else None
        )

    @property
    def mail_reply(self) -> Reply | None:
        """The reply to MAIL."""
        return self._replies.get(Verb.MAIL)

    @property
    def all_refused(self) -> bool:
        """Whether the server answered and took nothing: it counts such transactions against the session."""
        final = self.final_reply
        return not (final is not None and final.positive and self._envelope_stands())

    @property
    def mishandled(self) -> bool:
        """Whether the server, offering PIPELINING, lost its way in a group of commands; the mail was not taken.

        It then calls a command unknown, or out of order, whose predecessors it had accepted.
        """
        final = self.final_reply
        if self.manner.transport is Transport.STEPWISE or (final is not None and final.positive):
            return False
        if Verb.RSET in self._replies and not self._was_positive(Verb.RSET):
            return False
        if not self._was_positive(Verb.MAIL):
            return self.mail_reply is not None and self.mail_reply.code in _LOST
        if any(reply is not None and reply.code in _LOST for reply in self._rcpt_replies):
            return True
        data = self._replies.get(Verb.DATA) or self._replies.get(Verb.BDAT_LAST)
        return self._envelope_stands() and data is not None and data.code in _NOT_IMPLEMENTED

    def verdicts(self, dialogue: Dialogue, lost: Failure | None = None) -> list[Verdict]:
        """A verdict for each path. ``lost``: the session ended before every reply was in."""
        if lost is not None and lost.kind is FailureKind.GARBAGE:
            # Replies that do not add up may have shifted by one somewhere: none of them is held against anybody.
            return [self._of_loss(dialogue, lost)] * len(self._rcpt_replies)
        return [self._verdict(index, dialogue, lost) for index in range(len(self._rcpt_replies))]

    def _verdict(self, index: int, dialogue: Dialogue, lost: Failure | None) -> Verdict:
        mail, rcpt, final = self.mail_reply, self._rcpt_replies[index], self.final_reply
        closing = _announced(dialogue.protocol.closing_reply, lost)
        if closing is not None and not (final is not None and final.positive):
            return self._under_closing(index, closing, dialogue)
        if mail is not None and not mail.positive:
            return self._without_mail(mail, final)
        if mail is not None and rcpt is not None and not rcpt.positive:
            return classify_reply(Phase.RCPT, rcpt, accepted_before=self._accepted_before(index))
        if final is not None:
            return classify_reply(Phase.AWAIT_FINAL, final)
        data = self._replies.get(Verb.DATA)
        if data is not None and data.klass is not ReplyClass.INTERMEDIATE:
            return classify_reply(Phase.DATA, data)
        return self._of_loss(dialogue, lost)

    def _under_closing(self, index: int, closing: Reply, dialogue: Dialogue) -> Verdict:
        """The server announced that it would not go on, before it could have come to this message.

        A refusal it had given by then stands; a 503 is no refusal but an echo of the closing.
        """
        own = (
            (Phase.RSET, self._replies.get(Verb.RSET)),
            (Phase.MAIL, self.mail_reply),
            (Phase.RCPT, self._rcpt_replies[index]),
            (Phase.DATA, self._replies.get(Verb.DATA)),
            (Phase.AWAIT_FINAL, self.final_reply),
        )
        for phase, reply in own[1:3]:
            if reply is not None and reply.klass is ReplyClass.PERMANENT and reply.code != _BAD_SEQUENCE:
                return classify_reply(phase, reply)
        met = next((phase for phase, reply in own if reply is closing), None)
        return Verdict(Disposition.DEFERRED, Scope.SESSION, met or self._phase(dialogue, taken=False), reply=closing)

    def _without_mail(self, mail: Reply, final: Reply | None) -> Verdict:
        """MAIL was refused. A message accepted all the same went out in another's envelope (Exim without RSET)."""
        if final is not None and final.positive:
            return Verdict(Disposition.IN_DOUBT, Scope.SESSION, Phase.AWAIT_FINAL, reply=final)
        return classify_reply(Phase.MAIL, mail)

    def _accepted_before(self, index: int) -> bool:
        return any(reply is not None and reply.positive for reply in self._rcpt_replies[:index])

    def _of_loss(self, dialogue: Dialogue, lost: Failure | None) -> Verdict:
        if lost is None:
            raise AssertionError("a finished transaction has a reply for every verdict")
        taken = self._final_mark is not None and dialogue.protocol.may_have_been_taken(self._final_mark)
        phase = Phase.AWAIT_FINAL if taken else self._phase(dialogue, taken=False)
        return classify_failure(Failure(lost.kind, phase, lost.text, lost.errno))

    def _phase(self, dialogue: Dialogue, *, taken: bool) -> Phase:
        phase = dialogue.phase_of(self._outstanding[0] if self._outstanding else None)
        return Phase.BODY if phase is Phase.AWAIT_FINAL and not taken else phase


def _announced(closing: Reply | None, lost: Failure | None) -> Reply | None:
    """The reply that told of the session's end, if the end then came: a refused RSET alone does not make one."""
    if closing is None or closing.code == SERVICE_CLOSING or lost is None:
        return closing
    return closing if lost.kind in {FailureKind.CLOSED, FailureKind.RESET} else None


def _stuffed(content: bytes) -> tuple[bytes, ...]:
    """The message for DATA; a large one without leading dots is not copied (RFC 5321 4.5.2)."""
    if content.startswith(b".") or b"\r\n." in content:
        return (dot_stuff(content),)
    return (content, END_OF_DATA)

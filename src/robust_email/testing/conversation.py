"""One connection from greeting to QUIT: reads commands, keeps the session's state, and answers.

Mail transactions are ``exchange.py``'s, SASL is ``authentication.py``'s, misbehaving is ``acting.py``'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robust_email.testing.acting import perform
from robust_email.testing.authentication import MAX_COMMAND, Refused, authenticate
from robust_email.testing.channel import ConnectionEnded, LineTooLong, Woken
from robust_email.testing.exchange import Exchange
from robust_email.testing.faults import At
from robust_email.testing.replies import Code, code_of, is_positive
from robust_email.testing.script import EndOfData

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.testing.stage import Stage

_LAST_IN_GROUP = frozenset({"EHLO", "HELO", "STARTTLS", "AUTH", "DATA", "NOOP", "VRFY", "EXPN"})
"""Commands with nothing behind them until their reply has come (RFC 2920 3.1, RFC 3207 4.2, RFC 4954 4)."""

_NONMAIL = frozenset({"RSET", "NOOP", "VRFY", "HELP"})
_NO_ARGUMENT = frozenset({"DATA", "RSET", "QUIT", "STARTTLS"})


class Conversation:
    """The server's side of one session."""

    def __init__(self, stage: Stage) -> None:
        """Stand before the greeting."""
        self._stage = stage
        self._channel = stage.channel
        self._script = stage.script
        self._exchange = Exchange(stage)
        self._identified = False
        self._nonmail = 0
        self._handlers: dict[str, Callable[[str], None]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._exchange.rcpt,
            "DATA": self._exchange.data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "HELP": self._help,
            "QUIT": self._quit,
        }
        if self._script.extensions.chunking:
            self._handlers["BDAT"] = self._exchange.bdat

    def run(self) -> None:
        """Talk until either side ends the connection; never raises for anything the client does."""
        try:
            if self._script.implicit_tls:
                self._handshake()
            self._stage.answer(At.GREETING, f"220 {self._script.host_name} ESMTP ready")
            while True:
                self._step()
        except ConnectionEnded:
            pass
        finally:
            self._channel.close()

    def _step(self) -> None:
        if self._identified and not self._exchange.under_way:
            self._stage.answer(At.IDLE)
        lenient = self._script.quirks.end_of_data is EndOfData.LENIENT
        try:
            line = self._channel.read_line(lenient=lenient, timeout=self._script.limits.idle, wakeable=True)
        except LineTooLong:
            self._stage.say("500 5.5.2 Line too long")
            return
        except Woken:
            while action := self._channel.posted():
                perform(action, "", self._channel)
            return
        except TimeoutError:
            self._stage.say(f"421 4.4.2 {self._script.host_name} Error: timeout exceeded")
            return
        self._stage.record.command(line.decode("utf-8", "backslashreplace"))
        self._dispatch(line)

    def _dispatch(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        handler = self._handlers.get(verb)
        if any(octet in line for octet in (b"\r", b"\n", b"\0")):
            self._stage.say("500 5.5.2 Control character in a command")
        elif self._out_of_step(verb):
            raise ConnectionEnded
        elif handler is None:
            self._stage.say("500 5.5.1 Command not recognised")
        elif argument and verb in _NO_ARGUMENT:
            self._stage.say(f"501 5.5.4 {verb} takes no argument")
        elif self._tired_of(verb):
            raise ConnectionEnded
        else:
            handler(argument)

    def _out_of_step(self, verb: str) -> bool:
        """Complain of input that came too early, where that ends the session."""
        quirks = self._script.quirks
        if quirks.refuse_pipelining and verb != "BDAT" and self._channel.has_input():
            self._stage.say("500 5.5.1 Invalid command: Pipelining not supported")
            return True
        if quirks.check_synchronisation and verb in _LAST_IN_GROUP and self._channel.has_input():
            self._stage.say("554 5.5.0 SMTP protocol synchronisation error")
            return True
        return False

    def _tired_of(self, verb: str) -> bool:
        """Count commands that bring no mail, and give up on a client that sends nothing else."""
        if verb not in _NONMAIL:
            return False
        self._nonmail += 1
        limit = self._script.limits.nonmail
        if limit is None or self._nonmail - self._stage.accepted <= limit:
            return False
        self._stage.say("554 5.5.0 Too many nonmail commands")
        return True

    def _ehlo(self, argument: str) -> None:
        if not argument.strip():
            self._stage.say("501 5.5.4 EHLO wants a name")
            return
        lines = [f"{self._script.host_name} greets you", *self._keywords()]
        reply = "\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])
        self._identify(self._stage.answer(At.EHLO, reply, "EHLO"))

    def _helo(self, argument: str) -> None:
        if not argument.strip():
            self._stage.say("501 5.5.4 HELO wants a name")
            return
        self._identify(self._stage.answer(At.EHLO, f"250 {self._script.host_name}", "HELO"))

    def _identify(self, said: str | None) -> None:
        if code_of(said) == Code.OK:
            self._identified = True
            self._exchange.abandon()

    def _keywords(self) -> list[str]:
        offered, limits = self._script.extensions, self._script.limits
        encrypted = self._stage.record.encrypted
        words = {
            f"SIZE {offered.size}": offered.size is not None,
            "PIPELINING": offered.pipelining,
            "CHUNKING": offered.chunking,
            "8BITMIME": offered.eight_bit_mime,
            "SMTPUTF8": offered.smtputf8,
            "ENHANCEDSTATUSCODES": offered.enhanced_status_codes,
            "DSN": offered.dsn,
            "STARTTLS": self._script.starttls is not None and not encrypted,
            f"AUTH {' '.join(offered.auth)}": self._script.offers_auth(encrypted=encrypted),
        }
        caps = {"MAILMAX": limits.messages, "RCPTMAX": limits.recipients}
        held = [f"{name}={value}" for name, value in caps.items() if value is not None]
        words[" ".join(["LIMITS", *held])] = offered.limits
        return [*(word for word, is_offered in words.items() if is_offered), *offered.extra]

    def _starttls(self, _: str) -> None:
        if self._stage.record.encrypted:
            self._stage.say("503 5.5.1 TLS is in use")
            return
        usual = "220 2.0.0 Ready to start TLS" if self._script.starttls else "502 5.5.1 STARTTLS not offered"
        if code_of(self._stage.answer(At.STARTTLS, usual)) != Code.READY:
            return
        # RFC 3207 4.2: whatever was known or buffered before TLS is forgotten.
        self._stage.record.discarded(self._channel.discard_input())
        self._exchange.abandon()
        self._identified = False
        self._handshake()

    def _handshake(self) -> None:
        context = self._script.implicit_tls or self._script.starttls
        if self._stage.answer(At.TLS) is not None or context is None:
            raise ConnectionEnded
        self._channel.start_tls(context)

    def _auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        mechanism = mechanism.upper()
        refusal = self._auth_refusal(mechanism)
        if initial and len(f"AUTH {argument}\r\n".encode()) > MAX_COMMAND:
            refusal = "500 5.5.6 Authentication exchange line is too long"
        if refusal:
            self._stage.say(refusal)
            return
        said = self._stage.answer(At.AUTH, subject=mechanism)
        if said is not None:
            if code_of(said) == Code.AUTHENTICATED:
                self._stage.record.authenticated("")
            return
        try:
            user = authenticate(mechanism, initial, self._script.accounts, self._channel)
        except Refused as refused:
            self._stage.say(refused.reply)
        else:
            self._stage.record.authenticated(user)
            self._stage.say("235 2.7.0 Authentication successful")

    def _auth_refusal(self, mechanism: str) -> str | None:
        encrypted = self._stage.record.encrypted
        if not self._identified or not self._script.accounts:
            return "503 5.5.1 AUTH is not available"
        if not self._script.offers_auth(encrypted=encrypted):
            return "538 5.7.11 Encryption required"
        if self._stage.record.user is not None or self._exchange.under_way:
            return "503 5.5.1 AUTH is not allowed now"
        if mechanism not in self._script.extensions.auth:
            return "504 5.5.4 Unrecognised mechanism"
        return None

    def _mail(self, argument: str) -> None:
        if not self._identified:
            self._stage.say("503 5.5.1 EHLO first")
            return
        self._exchange.mail(argument)

    def _rset(self, _: str) -> None:
        if is_positive(self._stage.answer(At.RSET, "250 2.0.0 Ok")):
            self._exchange.abandon()

    def _quit(self, _: str) -> None:
        self._stage.answer(At.QUIT, f"221 2.0.0 {self._script.host_name} closing")
        raise ConnectionEnded

    def _noop(self, _: str) -> None:
        self._stage.answer(At.NOOP, "250 2.0.0 Ok")

    def _vrfy(self, _: str) -> None:
        self._stage.say("252 2.5.0 Cannot verify, but will take mail")

    def _help(self, _: str) -> None:
        self._stage.say("214 2.0.0 See RFC 5321")

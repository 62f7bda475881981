"""What one examination knows so far. Probes read what earlier ones left here, and leave what they found out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from robust_email.doctor.causes import CAUSES
from robust_email.doctor.concealment import Concealment
from robust_email.doctor.findings import Finding
from robust_email.doctor.watching import WatchedStream
from robust_email.smtp.dialogue import Dialogue
from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.failures import failure_of
from robust_email.smtp.net.naming import ehlo_name
from robust_email.smtp.net.race import EveryAddressFailed, connect_first
from robust_email.smtp.net.tunnel import pass_through
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.extensions import Extensions
from robust_email.smtp.protocol.states import SessionState, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Severity
    from robust_email.doctor.plan import Plan
    from robust_email.smtp.net.resolver import SocketAddress
    from robust_email.smtp.protocol.replies import Reply


_PATIENCE: Final = 3.0
_SLOW: Final = 2.0


class Line:
    """An open connection to the relay: the stream, the dialogue on it, and how long it took to stand."""

    def __init__(self, stream: WatchedStream, dialogue: Dialogue) -> None:
        """Of a stream just connected."""
        self.stream = stream
        self.dialogue = dialogue

    def ask(self, verb: Verb, line: bytes, deadline: Deadline) -> Reply:
        """One command and its reply. Raises ``SessionFailure``."""
        self.stream.new_step()
        return self.dialogue.ask(verb, line, deadline=deadline)

    def close(self) -> None:
        """Say QUIT where one may, and hang up. Never raises."""
        if self.dialogue.protocol.state in {SessionState.READY, SessionState.TRANSACTION, SessionState.IDENTIFY}:
            if self.dialogue.protocol.outstanding is None:
                self.dialogue.say(Verb.QUIT, commands.QUIT)
                self.dialogue.flush_now()
            self.stream.close()
        self.dialogue.abort()


class Visit:
    """The state of one examination; made by ``examination.examine``, handed from probe to probe."""

    def __init__(self, plan: Plan) -> None:
        """Nothing is known yet."""
        self.plan = plan
        self.config = plan.config
        self.surroundings = plan.surroundings
        self.clock = plan.surroundings.clock
        self.conceal = Concealment(plan.config.credentials, plan.config.proxy)
        self.first_hop = plan.config.proxy or plan.config
        """What is looked up and connected to: the relay, or the proxy on the way there, which looks up the relay."""
        self.in_container = plan.surroundings.in_container()
        self.search_first: tuple[str, ...] = ()
        """Search domains that the resolver tries before the relay's name as it is."""
        self.search_domains: tuple[str, ...] = ()
        self.addresses: tuple[SocketAddress, ...] = ()
        self.address: SocketAddress | None = None
        """The first that answered."""
        self.line: Line | None = None
        self.extensions = Extensions()
        """Of the latest EHLO."""
        self.offered_in_clear = Extensions()
        """Of the EHLO before STARTTLS."""
        self.encrypted = False
        self.identified = False
        """Whether EHLO, and TLS where it is wanted, are done."""
        self.ready = False
        """Whether the session is ready for mail."""
        self.envelope_taken = False
        """Whether the dry run's sender and recipient were taken."""
        self.opening_seconds = 0.0
        """From the look-up to a session ready for mail, without what only the doctor does."""

    def note(
        self,
        code: str,
        found: str,
        *,
        seconds: float | None = None,
        severity: Severity | None = None,
        remedy: str | None = None,
    ) -> Finding:
        """Make a finding of a code; ``severity`` and ``remedy`` stand in for the code's own."""
        cause = CAUSES[code]
        return Finding(
            code=code,
            severity=cause.severity if severity is None else severity,
            found=self.conceal(found),
            remedy=cause.remedy if remedy is None else self.conceal(remedy),
            seconds=seconds,
        )

    @property
    def patience(self) -> float:
        """Seconds to wait for a sign of life on a connection of the doctor's own, or from a name server."""
        return min(_PATIENCE, self.config.timeouts.opening / 4)

    @property
    def slow(self) -> float:
        """Seconds; a step that takes longer is worth a word. RFC 5321's minutes are for the worst case."""
        return min(_SLOW, self.config.timeouts.command / 8)

    def step_deadline(self) -> Deadline:
        """The end of one step that begins now, as the library itself would set it."""
        return Deadline.after(self.config.timeouts.command, self.clock)

    def opening_deadline(self) -> Deadline:
        """The end of one step on the way to a session."""
        return Deadline.after(self.config.timeouts.opening, self.clock)

    def connect(self) -> WatchedStream:
        """Connect to the address that answered, and through the proxy where there is one. Raises ``SessionFailure``."""
        if self.address is None:
            raise RuntimeError("no address answered")
        config, proxy, deadline = self.config, self.config.proxy, self.opening_deadline()
        try:
            sock = connect_first([self.address], deadline, config.source_address)
        except EveryAddressFailed as exc:
            raise self._failed(exc.tried[0][1]) from exc
        stream = WatchedStream(sock, config.host, tunnelled=proxy is not None)
        if proxy is None:
            return stream
        try:
            pass_through(stream, proxy, config.host, config.port, deadline)
        except (OSError, EOFError) as exc:
            stream.abort()
            raise self._failed(exc) from exc
        except BaseException:
            stream.abort()
            raise
        stream.new_step()
        return stream

    def _failed(self, error: Exception) -> SessionFailure:
        return SessionFailure(failure_of(error, Phase.CONNECT, self.config.endpoint))

    def new_line(self) -> Line:
        """Connect; nothing is said yet. Raises ``SessionFailure``."""
        stream = self.connect()
        return Line(stream, Dialogue(stream, self.config.endpoint, self.config.timeouts, self.clock, None))

    def hang_up(self) -> None:
        """End the connection, if there is one."""
        if self.line is not None:
            self.line.close()
            self.line = None
        self.ready = False

    def drop(self) -> None:
        """End a connection that is beyond words, if there is one."""
        if self.line is not None:
            self.line.dialogue.abort()
            self.line = None
        self.ready = False

    @property
    def own_name(self) -> str:
        """What we say at EHLO."""
        address = self.line.stream.own_address if self.line else ""
        return self.config.local_hostname or ehlo_name(address)

    @contextmanager
    def timed(self) -> Iterator[Stopwatch]:
        """Measure a step."""
        watch = Stopwatch()
        started = self.clock()
        try:
            yield watch
        finally:
            watch.seconds = self.clock() - started


class Stopwatch:
    """Seconds of a step that has ended."""

    seconds = 0.0

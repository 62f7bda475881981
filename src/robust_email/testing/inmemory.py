"""``InMemoryEmailBackend``: no network, and yet the reports, signals, errors and log lines of the real one.

``EMAIL_BACKEND = "robust_email.testing.inmemory.InMemoryEmailBackend"``, where Django's test runner has its ``locmem``.
What was accepted is in ``relay.accepted``, as octets, and in ``django.core.mail.outbox``. ``relay.add_fault`` takes the
same faults as a :class:`~robust_email.testing.ScriptedServer`; those that are about octets on the wire, and time, need
that server. The verdicts are the engine's own: by its table, from the reply or the loss that a fault stands for.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Final, cast

from django.core import mail

from robust_email import smtp
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.registry import registry
from robust_email.smtp import (
    AttemptRecord,
    Disposition,
    Envelope,
    MailData,
    Phase,
    Scope,
    Submission,
    SubmissionReport,
    TlsMode,
    Verdict,
)
from robust_email.smtp.events import AttemptFailed, Submitted
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.outcome import classify_failure, classify_reply
from robust_email.smtp.raising import opening_error
from robust_email.smtp.retry import retry_now
from robust_email.testing.faults import At, Close, Fault, FaultPlan, Occasion, Reply, Reset, TakeThenClose
from robust_email.testing.ledger import AcceptedMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from django.core.mail import EmailMessage

    from robust_email.smtp import SmtpConfig, SubmissionClient

ENDPOINT: Final = "in-memory:25"

_PHASES: Final = {
    At.GREETING: Phase.GREETING,
    At.EHLO: Phase.EHLO,
    At.STARTTLS: Phase.STARTTLS,
    At.TLS: Phase.TLS,
    At.AUTH: Phase.AUTH,
    At.MAIL: Phase.MAIL,
    At.RCPT: Phase.RCPT,
    At.DATA: Phase.DATA,
    At.BODY: Phase.BODY,
    At.BEFORE_FINAL: Phase.AWAIT_FINAL,
    At.FINAL: Phase.AWAIT_FINAL,
}
_LOSSES: Final = {
    Close: (FailureKind.CLOSED, "the server closed the connection"),
    TakeThenClose: (FailureKind.CLOSED, "the server closed the connection"),
    Reset: (FailureKind.RESET, "the connection was reset"),
}


class InMemoryRelay:
    """The relay behind every ``InMemoryEmailBackend`` of the process. For any thread."""

    def __init__(self) -> None:
        """Behave, and have taken nothing."""
        self._plan = FaultPlan()
        self._lock = threading.Lock()
        self._accepted: list[AcceptedMessage] = []
        self._sessions = itertools.count(1)

    @property
    def accepted(self) -> list[AcceptedMessage]:
        """What the relay took responsibility for, in order; also a mail whose sender was left in doubt."""
        with self._lock:
            return list(self._accepted)

    def add_fault(self, fault: Fault) -> None:
        """Misbehave from now on; ``TypeError`` for what only a real server can do."""
        if fault.at not in _PHASES or not isinstance(fault.action, (Reply, *_LOSSES)):
            raise TypeError(f"{type(fault.action).__name__} at At.{fault.at} needs a ScriptedServer")
        self._plan.add(fault)

    def clear_faults(self) -> None:
        """Behave from now on."""
        self._plan.clear()

    def clear(self) -> None:
        """Behave, and forget what was taken."""
        self._plan.clear()
        with self._lock:
            self._accepted.clear()

    def begin_session(self) -> int:
        """Return the number of another session."""
        return next(self._sessions)

    def says(self, at: At, session: int, subject: str = "") -> Verdict | None:
        """Return what a fault at this moment comes to; None if the relay behaves."""
        fault = self._plan.take(Occasion(at, session, subject=subject))
        if fault is None:
            return None
        phase, action = _PHASES[at], fault.action
        if isinstance(action, Reply):
            code, _, text = (action.text or "250 2.0.0 ok").partition(" ")
            reply = smtp.Reply(int(code[:3]), tuple(text.encode().split(b"\n")))
            return None if reply.positive else classify_reply(phase, reply)
        kind, text = _LOSSES[type(action)]
        return classify_failure(Failure(kind, phase, text))

    def take(self, envelope: Envelope, paths: Sequence[str], data: MailData, session: int) -> smtp.Reply:
        """Put a mail into the ledger and return the final reply."""
        with self._lock:
            order = len(self._accepted) + 1
            self._accepted.append(
                AcceptedMessage(
                    reverse_path=str(envelope.reverse_path),
                    forward_paths=tuple(paths),
                    data=data.content,
                    message_id=data.message_id or "",
                    connection=session,
                    order=order,
                    parameters={},
                    recipient_parameters={},
                    encrypted=False,
                    user=None,
                )
            )
        return smtp.Reply(250, (f"2.0.0 Ok: queued as MEMORY{order}".encode(),))


relay: Final = InMemoryRelay()
"""The one of this process."""


class InMemoryClient:
    """As much of a ``SubmissionClient`` as backends and the outbox use. It opens nothing and never sleeps."""

    def __init__(self, config: SmtpConfig) -> None:
        """``config`` says how often to try, and whether there would be TLS and a log-in."""
        self._config = config
        self.clock = time.monotonic

    def verify(self, *_: object) -> None:
        """Have a session; raises as ``SubmissionClient.verify`` if a fault is in its way."""
        session = relay.begin_session()
        for at in self._opening():
            if (verdict := relay.says(at, session)) is not None:
                raise opening_error(verdict, ENDPOINT, None)

    def submit(self, envelope: Envelope, data: MailData, *_: object, **__: object) -> SubmissionReport:
        """Hand over one mail, as ``SubmissionClient.submit``; deadline, lane and effort change nothing here."""
        return self._submit(Submission(envelope, data), lambda _submissions: None)

    def submit_many(
        self,
        submissions: Iterable[Submission],
        *,
        before_final: Callable[[Sequence[Submission]], None] | None = None,
        **_: object,
    ) -> Iterator[tuple[Submission, SubmissionReport]]:
        """Hand over many, one after the other, as ``SubmissionClient.submit_many``."""
        for submission in submissions:
            yield submission, self._submit(submission, before_final or (lambda _submissions: None))

    def _submit(self, submission: Submission, before_final: Callable[[Sequence[Submission]], None]) -> SubmissionReport:
        attempts: list[AttemptRecord] = []
        paths = [str(path) for path in submission.envelope.forward_paths]
        for number in itertools.count(1):
            session = relay.begin_session()
            verdicts = self._attempt(submission, paths, session, before_final)
            first = verdicts[paths[0]]
            failed = None if first.disposition is Disposition.ACCEPTED else first
            attempts.append(AttemptRecord(number, first.phase, 0.0, failed, session))
            lost = next((each for each in verdicts.values() if _is_lost(each)), None)
            if lost is None:
                break
            decision = retry_now(lost, number, self._config.retry, lambda: 0.0)
            delay = decision.delay if decision else None
            registry.notify(AttemptFailed(ENDPOINT, number, self._config.retry.attempts, lost, delay))
            if decision is None:
                break
        report = SubmissionReport(
            submission.data.message_id, ENDPOINT, verdicts, tuple(attempts), session=session, kind=submission.kind
        )
        registry.notify(Submitted(ENDPOINT, report))
        return report

    def _attempt(
        self,
        submission: Submission,
        paths: Sequence[str],
        session: int,
        before_final: Callable[[Sequence[Submission]], None],
    ) -> dict[str, Verdict]:
        """One session and one transaction in it."""
        envelope = submission.envelope
        for at in (*self._opening(), At.MAIL):
            if (verdict := relay.says(at, session, str(envelope.reverse_path) if at is At.MAIL else "")) is not None:
                return dict.fromkeys(paths, verdict)
        refused = {path: verdict for path in paths if (verdict := relay.says(At.RCPT, session, path)) is not None}
        open_paths = [path for path in paths if path not in refused]
        if (lost := next(filter(_is_lost, refused.values()), None)) is not None:
            return dict.fromkeys(paths, lost)
        if not open_paths:
            return refused
        for at in (At.DATA, At.BODY):
            if (verdict := relay.says(at, session)) is not None:
                return refused | dict.fromkeys(open_paths, verdict)
        before_final([submission])
        final = relay.says(At.BEFORE_FINAL, session)
        if final is None:
            reply = relay.take(envelope, open_paths, submission.data, session)
            final = relay.says(At.FINAL, session) or classify_reply(Phase.AWAIT_FINAL, reply)
        found = refused | dict.fromkeys(open_paths, final)
        return {path: found[path] for path in paths}

    def _opening(self) -> Iterator[At]:
        yield from (At.GREETING, At.EHLO)
        if self._config.tls.mode is not TlsMode.NONE:
            yield from (At.STARTTLS, At.TLS)
        if self._config.credentials is not None:
            yield At.AUTH


def _is_lost(verdict: Verdict) -> bool:
    """Tell whether the engine would try again at once."""
    return verdict.disposition is Disposition.DEFERRED and verdict.scope in {Scope.SESSION, Scope.ENDPOINT}


class InMemoryEmailBackend(RobustSMTPEmailBackend):
    """``RobustSMTPEmailBackend`` whose relay is ``inmemory.relay``; takes the same options and settings."""

    def client(self) -> SubmissionClient:
        """Return what stands for a pool of sessions."""
        return cast("SubmissionClient", InMemoryClient(self.config))

    def _settle(self, email_message: EmailMessage, submission: Submission, report: SubmissionReport) -> bool:
        """Keep an accepted message where Django's tests look for it, too."""
        if report.accepted and hasattr(mail, "outbox"):
            mail.outbox.append(email_message)
        return super()._settle(email_message, submission, report)

"""The engine's events as log lines, with the same facts as fields in ``extra`` (all begin with ``smtp_``).

``robust_email.backend`` tells the story: INFO for a session opened and a message accepted, WARNING for a connection
error and for whatever a server did not accept, ERROR for a mistake of configuration, which no retry can mend.
``robust_email.transcript`` is the dialogue line by line, at DEBUG. No line holds a secret or a whole address.

Handlers may mail what they are given (``django.utils.log.AdminEmailHandler``), perhaps through the very relay that the
line is about. That mail must neither log again without end, nor wait for a session that this thread holds or has just
failed to get: ``relays_being_logged`` tells the backend, which lets it go unsent.
"""

from __future__ import annotations

import itertools
import logging
import traceback
from contextvars import ContextVar
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Final

from robust_email.smtp.events import (
    AfterAcceptanceTrouble,
    AttemptFailed,
    CircuitClosed,
    CircuitOpened,
    Event,
    GovernorDegraded,
    GovernorRestored,
    HeldBack,
    SessionClosed,
    SessionOpened,
    StaleAnswerUsed,
    Submitted,
)
from robust_email.smtp.outcome import Scope
from robust_email.smtp.transcript import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.smtp.outcome import Verdict
    from robust_email.smtp.report import SubmissionReport
    from robust_email.smtp.transcript import Transcript

BACKEND: Final = logging.getLogger("robust_email.backend")
TRANSCRIPT: Final = logging.getLogger("robust_email.transcript")

_transcripts = itertools.count(1)
_being_logged: ContextVar[frozenset[str]] = ContextVar("being_logged", default=frozenset())


def relays_being_logged() -> frozenset[str]:
    """Return the relays (``host:port``) about which a log handler up the caller's stack was given a line."""
    return _being_logged.get()


def open_transcript() -> Transcript | None:
    """Return a writer for the dialogue of one session, already masked; None if nobody listens."""
    if not TRANSCRIPT.isEnabledFor(logging.DEBUG):
        return None
    number = next(_transcripts)

    def write(who: str, lines: str) -> None:
        for line in lines.split("\n"):
            TRANSCRIPT.debug("%d %s: %s", number, who, line, extra={"smtp_transcript": number, "smtp_sender": who})

    return write


class LogWriter:
    """A listener. What a log handler raises is shown as ``logging`` shows such errors, and costs no mail."""

    def __call__(self, event: Event) -> None:
        """Write the line for an event, if it has one."""
        if event.endpoint in _being_logged.get():
            return
        token = _being_logged.set(_being_logged.get() | {event.endpoint})
        try:
            self._write(event)
        except Exception:  # noqa: BLE001 - AdminEmailHandler lets its mailer's errors out; logged, they would come back
            if logging.raiseExceptions:
                traceback.print_exc()
        finally:
            _being_logged.reset(token)

    @singledispatchmethod
    def _write(self, event: Event) -> None:
        """Write nothing for events that only metrics count."""

    @_write.register
    def _(self, event: SessionOpened) -> None:
        BACKEND.info(
            "SMTP connection established successfully on attempt %d",
            event.attempt,
            extra={
                "smtp_endpoint": event.endpoint,
                "smtp_session": event.session,
                "smtp_attempt": event.attempt,
                "smtp_seconds": event.seconds,
                "smtp_tls": event.tls,
                "smtp_address": event.address,
            },
        )

    @_write.register
    def _(self, event: AttemptFailed) -> None:
        verdict = event.verdict
        BACKEND.log(
            _level(verdict),
            "SMTP connection error on attempt %d/%d: %s",
            event.attempt,
            event.attempts,
            masked(verdict.reason).removeprefix(f"{event.endpoint}: "),
            extra={
                "smtp_endpoint": event.endpoint,
                "smtp_attempt": event.attempt,
                "smtp_attempts": event.attempts,
                "smtp_retry_in": event.retry_in,
                **_facts(verdict),
            },
        )

    @_write.register
    def _(self, event: StaleAnswerUsed) -> None:
        BACKEND.warning(
            "DNS does not answer for %s; using the addresses it gave %.0f seconds ago",
            event.endpoint,
            event.age,
            extra={"smtp_endpoint": event.endpoint, "smtp_age": event.age},
        )

    @_write.register
    def _(self, event: CircuitOpened) -> None:
        BACKEND.error(
            "%s is given up and will be tried by one worker at a time: %s",
            event.endpoint,
            masked(event.reason),
            extra={"smtp_endpoint": event.endpoint},
        )

    @_write.register
    def _(self, event: CircuitClosed) -> None:
        BACKEND.info(
            "%s is back after %.0f seconds",
            event.endpoint,
            event.outage,
            extra={"smtp_endpoint": event.endpoint, "smtp_outage": event.outage},
        )

    @_write.register
    def _(self, event: GovernorDegraded) -> None:
        BACKEND.error(
            "The limits of %s are not shared any more; this process keeps to its part of them: %s",
            event.endpoint,
            event.reason,
            extra={"smtp_endpoint": event.endpoint},
        )

    @_write.register
    def _(self, event: GovernorRestored) -> None:
        BACKEND.info("The limits of %s are shared again", event.endpoint, extra={"smtp_endpoint": event.endpoint})

    @_write.register
    def _(self, event: HeldBack) -> None:
        BACKEND.debug(
            "Mail for %s is held back for %.1f seconds: %s",
            event.endpoint,
            event.seconds,
            masked(event.reason),
            extra={"smtp_endpoint": event.endpoint, "smtp_seconds": event.seconds},
        )

    @_write.register
    def _(self, event: AfterAcceptanceTrouble) -> None:
        BACKEND.info(
            "After %s had accepted a message: %s",
            event.endpoint,
            masked(event.text),
            extra={"smtp_endpoint": event.endpoint, "smtp_session": event.session},
        )

    @_write.register
    def _(self, event: SessionClosed) -> None:
        BACKEND.debug(
            "Session %d with %s ended after %d transactions: %s",
            event.session,
            event.endpoint,
            event.transactions,
            masked(event.reason),
            extra={"smtp_endpoint": event.endpoint, "smtp_session": event.session},
        )

    @_write.register
    def _(self, event: Submitted) -> None:
        report = event.report
        if report.all_accepted:
            if not BACKEND.isEnabledFor(logging.INFO):
                return  # many mails a second, and the line is not cheap
            reply = report.final_reply
            BACKEND.info(
                "Message %s accepted by %s for %d recipient(s): %s",
                report.message_id,
                report.endpoint,
                len(report.accepted),
                masked(str(reply)) if reply is not None else "",
                extra=_report_facts(report),
            )
            return
        BACKEND.log(
            max(_level(verdict) for verdict in _not_accepted(report)),
            "Message %s not accepted by %s for %d of %d recipient(s) (%s): %s",
            report.message_id,
            report.endpoint,
            len(report.verdicts) - len(report.accepted),
            len(report.verdicts),
            _counts(report),
            masked(report.decisive.reason),
            extra=_report_facts(report),
        )


def _level(verdict: Verdict) -> int:
    return logging.ERROR if verdict.scope is Scope.CONFIGURATION else logging.WARNING


def _not_accepted(report: SubmissionReport) -> Iterator[Verdict]:
    for recipient, verdict in report.verdicts.items():
        if recipient not in report.accepted:
            yield verdict


def _counts(report: SubmissionReport) -> str:
    counts = {"refused": report.refused, "deferred": report.deferred, "in doubt": report.in_doubt}
    return ", ".join(f"{len(recipients)} {word}" for word, recipients in counts.items() if recipients)


def _facts(verdict: Verdict) -> dict[str, object]:
    reply = verdict.reply
    return {
        "smtp_phase": verdict.phase.value,
        "smtp_disposition": verdict.disposition.value,
        "smtp_scope": verdict.scope.value,
        "smtp_code": reply.code if reply is not None else None,
        "smtp_enhanced_code": str(reply.enhanced) if reply is not None and reply.enhanced is not None else None,
        "smtp_failure": verdict.failure.kind.value if verdict.failure is not None else None,
    }


def _report_facts(report: SubmissionReport) -> dict[str, object]:
    return {
        "smtp_endpoint": report.endpoint,
        "smtp_message_id": report.message_id,
        "smtp_seconds": report.seconds,
        "smtp_session": report.session,
        "smtp_attempts": len(report.attempts),
        "smtp_accepted": len(report.accepted),
        "smtp_deferred": len(report.deferred),
        "smtp_refused": len(report.refused),
        "smtp_in_doubt": len(report.in_doubt),
        **_facts(report.decisive),
    }

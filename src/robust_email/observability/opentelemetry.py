"""Traces for OpenTelemetry (extra ``opentelemetry``): from whoever wrote a mail to each phase of its submission.

Call ``install()`` once in each process, in an ``AppConfig.ready()`` say, after the SDK was set up. Spans are::

    the caller's own (a web request)
     └ outbox process     in the worker, over Celery or not; the row carried the trace there. A batch has a span of its
       │                  own instead, to which the spans of its mails are linked
       └ smtp send        one submission, its retries included
          └ smtp mail     a phase, as ``smtp.phases`` names it: pool, resolve, connect, tls ... await-final

Attributes follow the semantic conventions for messaging where there is one. None holds an address, a subject or the
words of a reply: those may name people. A Message-ID is there, to look for it in the relay's log.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from django.apps import apps
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from robust_email.registry import registry
from robust_email.smtp import Disposition
from robust_email.smtp.events import AttemptFailed, Event, PhaseTimed, Submitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

    from robust_email.outbox.models import OutboxMessage
    from robust_email.smtp import SubmissionReport, Verdict

Attributes = dict[str, str | int]

HEADER: Final = "traceparent"
MOST_PHASES: Final = 256
"""Kept of one thread until a submission ends; a batch of many recipients has more, and loses the first of them."""
SECOND: Final = 1_000_000_000
"""Nanoseconds."""
SLACK: Final = SECOND // 20
"""What happened this long before a submission is still taken for a part of it."""

_origins: ContextVar[Mapping[str, Context]] = ContextVar("origins", default={})  # noqa: B039 - nobody changes it
"""Of the mails of the batch under way, by Message-ID: the traces that they belong to."""


@lru_cache(maxsize=1)
def install(provider: TracerProvider | None = None) -> SpanWriter:
    """Trace from now on, by the provider given or the global one. A second call changes nothing."""
    writer = SpanWriter(provider)
    registry.subscribe(writer, phases=True)
    if apps.is_installed("robust_email.outbox"):
        from robust_email.outbox import tracing

        tracing.use(writer)
    return writer


@dataclass(slots=True)
class _Ended:
    """A phase that ended, or an attempt that failed; its time in nanoseconds since 1970."""

    at: int
    event: PhaseTimed | AttemptFailed

    @property
    def began(self) -> int:
        """When the phase began; an attempt is told of at its end alone."""
        return self.at - (int(self.event.seconds * SECOND) if isinstance(self.event, PhaseTimed) else 0)


class _Seen(threading.local):
    """What happened in this thread since its last submission ended."""

    def __init__(self) -> None:
        """Run in each thread."""
        self.events: deque[_Ended] = deque(maxlen=MOST_PHASES)


class SpanWriter:
    """A listener that makes spans, and an ``outbox.tracing.Tracer``. Any thread."""

    def __init__(self, provider: TracerProvider | None = None, *, now: Callable[[], int] = time.time_ns) -> None:
        """``now``: nanoseconds since 1970, as spans have them."""
        self._tracer = trace.get_tracer("robust_email", tracer_provider=provider)
        self._now = now
        self._seen = _Seen()
        self._format = TraceContextTextMapPropagator()

    # -- what the engine tells

    def __call__(self, event: Event) -> None:
        """Remember a phase; make the spans of a submission that ended."""
        if isinstance(event, (PhaseTimed, AttemptFailed)):
            self._seen.events.append(_Ended(self._now(), event))
        elif isinstance(event, Submitted):
            events, self._seen.events = self._seen.events, deque(maxlen=MOST_PHASES)
            self._write(event.report, self._now(), events)

    def _write(self, report: SubmissionReport, end: int, events: Iterable[_Ended]) -> None:
        """Make a span of what is over: its phases can only be its children once it is known to have been one mail."""
        began = end - int(report.seconds * SECOND)
        own = [each for each in events if each.at >= began - SLACK]
        # Other listeners were told before us, so that the whole thing seems to have ended, and begun, a little later.
        began = min([began, *(each.began for each in own)])
        origin = _origins.get().get(report.message_id or "")
        here = trace.get_current_span().get_span_context()
        span = self._tracer.start_span(
            "smtp send",
            context=origin,
            kind=SpanKind.CLIENT,
            attributes=_of_report(report),
            links=[Link(here)] if origin is not None and here.is_valid else [],
            start_time=began,
        )
        if span.is_recording():
            inside = trace.set_span_in_context(span)
            for each in own:
                self._add(span, inside, each)
            if not report.all_accepted:
                span.set_status(Status(StatusCode.ERROR, _in_short(report.decisive)))
        span.end(end_time=end)

    def _add(self, span: Span, inside: Context, ended: _Ended) -> None:
        event = ended.event
        if isinstance(event, AttemptFailed):
            facts: Attributes = {"robust_email.attempt": event.attempt, **_of_verdict(event.verdict)}
            span.add_event("attempt failed", facts, timestamp=ended.at)
            return
        phase = self._tracer.start_span(
            f"smtp {event.phase.value}",
            context=inside,
            attributes={**_of_server(event.endpoint), "robust_email.phase": event.phase.value},
            start_time=ended.began,
        )
        phase.end(end_time=ended.at)

    # -- what the outbox asks for

    def traceparent(self) -> str:
        """Return the current span's place in its trace."""
        carrier: dict[str, str] = {}
        self._format.inject(carrier)
        return carrier.get(HEADER, "")

    @contextmanager
    def handing_over(self, rows: Sequence[OutboxMessage]) -> Iterator[None]:
        """Go on with the trace of one mail, or have a batch linked to those of all of its mails."""
        origins = {row.message_id: self._format.extract({HEADER: row.traceparent}) for row in rows if row.traceparent}
        alone = next(iter(origins.values()), None) if len(rows) == 1 else None
        here = trace.get_current_span().get_span_context()
        links = [trace.get_current_span(origin).get_span_context() for origin in origins.values() if alone is None]
        if alone is not None and here.is_valid:
            links.append(here)  # the worker's own trace, a Celery task's say
        token = _origins.set({} if alone is not None else origins)
        try:
            with self._tracer.start_as_current_span(
                "outbox process",
                context=alone,
                kind=SpanKind.CONSUMER,
                attributes=_of_rows(rows),
                links=[Link(each) for each in {each.span_id: each for each in links}.values()],
                record_exception=False,  # its text may name people
                set_status_on_exception=False,
            ):
                yield
        finally:
            _origins.reset(token)


def _of_rows(rows: Sequence[OutboxMessage]) -> Attributes:
    facts: Attributes = {
        "messaging.system": "robust_email.outbox",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
    }
    if len(rows) == 1:
        return {**facts, "messaging.message.id": str(rows[0].pk), "robust_email.kind": rows[0].kind}
    return {**facts, "messaging.batch.message_count": len(rows)}


def _of_report(report: SubmissionReport) -> Attributes:
    facts: Attributes = {
        "messaging.system": "smtp",
        "messaging.operation.name": "submit",
        "messaging.operation.type": "send",
        "messaging.message.id": report.message_id or "",
        "robust_email.kind": report.kind,
        "robust_email.attempts": len(report.attempts),
        "robust_email.recipients.accepted": len(report.accepted),
        "robust_email.recipients.deferred": len(report.deferred),
        "robust_email.recipients.refused": len(report.refused),
        "robust_email.recipients.in_doubt": len(report.in_doubt),
        **_of_server(report.endpoint),
    }
    return {**facts, **_of_verdict(report.decisive)}


def _of_server(endpoint: str) -> Attributes:
    host, _, port = endpoint.rpartition(":")
    known: Attributes = {"server.address": host.strip("[]") or endpoint, "network.protocol.name": "smtp"}
    return {**known, "server.port": int(port)} if port.isdigit() else known


def _of_verdict(verdict: Verdict) -> Attributes:
    facts: Attributes = {
        "robust_email.disposition": verdict.disposition.value,
        "robust_email.phase": verdict.phase.value,
    }
    if verdict.reply is not None:
        facts["robust_email.reply_code"] = verdict.reply.code
    if verdict.disposition is not Disposition.ACCEPTED:
        facts["error.type"] = _cause(verdict)
    return facts


def _cause(verdict: Verdict) -> str:
    """Return the reply's code, or the kind of failure: never its words."""
    if verdict.reply is not None:
        return str(verdict.reply.code)
    return verdict.failure.kind.value if verdict.failure is not None else verdict.disposition.value


def _in_short(verdict: Verdict) -> str:
    return f"{verdict.disposition.value} at {verdict.phase.value} ({_cause(verdict)})"

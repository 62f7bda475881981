"""One trace from the web request to the end of data, whatever lies between, and no word of whom the mail was for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery
from django.core.mail import EmailMessage, send_mail
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from robust_email import _compat
from robust_email.observability.opentelemetry import SpanWriter
from robust_email.outbox import enqueue, tracing
from robust_email.outbox.dispatch import run_batch, run_one
from robust_email.outbox.models import OutboxMessage
from robust_email.registry import registry
from robust_email.testing import At, Close, Fault, Reply, TakeThenClose
from tests.contract.ways import legacy_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from robust_email.testing import ScriptedServer

ANN = "canary-ann@example.net"


class Traces:
    """What was exported, and a tracer for the application's own spans."""

    def __init__(self) -> None:
        """Export into memory."""
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("shop")

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Give the spans of that name, or all."""
        return [span for span in self.exporter.get_finished_spans() if name in {"", span.name}]

    def span(self, name: str) -> ReadableSpan:
        """Give the only span of that name."""
        [found] = self.spans(name)
        return found


@pytest.fixture
def traces() -> Iterator[Traces]:
    """Trace into memory."""
    made = Traces()
    writer = SpanWriter(made.provider)
    registry.subscribe(writer, phases=True)
    tracing.use(writer)
    yield made
    tracing.use(None)
    registry.unsubscribe(writer)


def mail(to: str = ANN) -> EmailMessage:
    """Make a message."""
    return EmailMessage("canary subject", "canary body", "canary-shop@example.org", [to])


def parent_of(span: ReadableSpan) -> int | None:
    """Give the id of the span above."""
    return span.parent.span_id if span.parent else None


def is_under(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Tell whether one is the other's child, in the same trace."""
    return bool(parent_of(child) == parent.context.span_id and child.context.trace_id == parent.context.trace_id)


def test_a_mail_submitted_in_a_request_is_below_it(relay: ScriptedServer, traces: Traces) -> None:
    """The request has one submission below it, and that each phase of the dialogue, inside its time."""
    with traces.tracer.start_as_current_span("GET /order"):
        send_mail("hi", "there", "shop@example.org", [ANN])
    sent = traces.span("smtp send")
    assert is_under(sent, traces.span("GET /order"))
    assert sent.kind is SpanKind.CLIENT
    assert sent.status.is_ok or sent.status.is_unset
    names = ["resolve", "connect", "greeting", "ehlo", "mail", "rcpt", "await-final"]
    phases = [traces.span(f"smtp {name}") for name in names]
    assert all(is_under(phase, sent) for phase in phases)
    assert [phase.start_time for phase in phases] == sorted(phase.start_time or 0 for phase in phases)
    assert (sent.start_time or 0) <= (phases[0].start_time or 0)
    assert (sent.end_time or 0) >= (phases[-1].end_time or 0)


def test_attributes_are_the_conventions(relay: ScriptedServer, traces: Traces) -> None:
    """Server, protocol, operation and outcome are where the semantic conventions have them."""
    message = mail()
    message.send()
    facts = dict(traces.span("smtp send").attributes or {})
    assert facts["server.address"] == relay.host
    assert facts["server.port"] == relay.port
    assert facts["network.protocol.name"] == "smtp"
    assert (facts["messaging.system"], facts["messaging.operation.type"]) == ("smtp", "send")
    assert facts["messaging.message.id"] == vars(message)["smtp_report"].message_id
    assert (facts["robust_email.disposition"], facts["robust_email.reply_code"]) == ("accepted", 250)
    assert "error.type" not in facts


def test_the_trace_goes_through_the_outbox(outbox_relay: ScriptedServer, traces: Traces) -> None:
    """A worker that knows the row alone goes on with the trace of the request that wrote it."""
    with traces.tracer.start_as_current_span("POST /order"):
        row = enqueue(mail(), kind="order")
    with traces.tracer.start_as_current_span("the worker's own"):
        run_one(row.pk)
    request, process, sent = traces.span("POST /order"), traces.span("outbox process"), traces.span("smtp send")
    assert is_under(process, request)
    assert is_under(sent, process)
    assert is_under(traces.span("smtp await-final"), sent)
    assert process.kind is SpanKind.CONSUMER
    assert [link.context.span_id for link in process.links] == [traces.span("the worker's own").context.span_id]
    assert (sent.attributes or {})["robust_email.kind"] == "order"


def test_the_trace_goes_through_celery_without_riding_on_the_broker(
    outbox_relay: ScriptedServer, traces: Traces
) -> None:
    """The task carries a key and nothing else; the trace is found in the row."""
    app = Celery("shop", broker="memory://", set_as_current=True)
    from robust_email.outbox import tasks

    app.conf.task_always_eager = True
    with traces.tracer.start_as_current_span("POST /order"):
        row = enqueue(mail())
    published = tasks.deliver.apply_async(args=[str(row.pk)], retry=False)
    assert published.get() == {"status": "accepted", "message": str(row.pk)}
    assert is_under(traces.span("outbox process"), traces.span("POST /order"))


def test_each_mail_of_a_batch_goes_on_with_its_own_trace(outbox_relay: ScriptedServer, traces: Traces) -> None:
    """Two requests, one batch: each has its own submission below it, linked to the batch, and the batch to both."""
    for name in ("first", "second"):
        with traces.tracer.start_as_current_span(name):
            enqueue(mail(f"{name}@example.net"))
    enqueue(mail("untraced@example.net"))
    assert run_batch().claimed == 3
    process = traces.span("outbox process")
    assert process.parent is None
    requests = [traces.span("first"), traces.span("second")]
    assert {link.context.span_id for link in process.links} == {each.context.span_id for each in requests}
    assert (process.attributes or {})["messaging.batch.message_count"] == 3
    by_parent = {parent_of(span): span for span in traces.spans("smtp send")}
    assert set(by_parent) == {*(each.context.span_id for each in requests), process.context.span_id}
    for request in requests:
        [link] = by_parent[request.context.span_id].links
        assert link.context.span_id == process.context.span_id


def test_a_bulk_over_several_sessions_stays_in_its_trace(relay: ScriptedServer, traces: Traces) -> None:
    """Threads that work for one call are below the caller's span."""
    with traces.tracer.start_as_current_span("newsletter"):
        messages = [mail(f"ann{number}@example.net") for number in range(12)]
        with legacy_settings(EMAIL_BULK_SESSIONS=3):
            assert _compat.default_mailer().send_messages(messages) == 12
    newsletter = traces.span("newsletter")
    assert [is_under(span, newsletter) for span in traces.spans("smtp send")] == [True] * 12


def test_what_went_wrong_is_an_error_by_its_code(relay: ScriptedServer, traces: Traces) -> None:
    """A refusal and a doubt are errors, named by code or kind; a failed attempt is an event of its submission."""
    relay.add_fault(Fault(At.GREETING, Close(), times=1))
    relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 canary-bob@example.net is unknown"), subject="bob"))
    with pytest.raises(OSError, match="550"):
        mail("canary-bob@example.net").send()
    relay.add_fault(Fault(At.FINAL, TakeThenClose()))
    with pytest.raises(OSError, match="IN DOUBT"):
        mail().send()
    refused, doubt = traces.spans("smtp send")
    assert (refused.attributes or {})["error.type"] == "550"
    assert refused.status.description == "refused at rcpt (550)"
    [event] = refused.events
    assert (event.name, (event.attributes or {})["robust_email.phase"]) == ("attempt failed", "greeting")
    assert (doubt.attributes or {})["robust_email.disposition"] == "in-doubt"
    assert doubt.status.description == "in-doubt at await-final (closed)"


def test_no_span_says_whom_a_mail_was_for(outbox_relay: ScriptedServer, traces: Traces) -> None:
    """Addresses, subjects and the words of replies are in no span, whatever became of the mail."""
    outbox_relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 canary-bob@example.net is unknown"), subject="bob"))
    for name in (ANN, "canary-bob@example.net"):
        enqueue(mail(name))
    run_batch()
    text = "".join(span.to_json() for span in traces.spans())
    assert "smtp send" in text
    assert "canary" not in text
    assert "example.net" not in text


def test_a_tracer_that_fails_costs_no_mail(
    outbox_relay: ScriptedServer, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """Writing and handing over go on untraced, and the log says so."""

    class Broken:
        def traceparent(self) -> str:
            raise OSError("no collector")

        def handing_over(self, rows: object) -> None:
            raise OSError("no collector")

    tracing.use(Broken())  # type: ignore[arg-type]  # it breaks its promise
    enqueue(mail())
    assert run_batch().claimed == 1
    assert len(outbox_relay.accepted) == 1
    assert "is not traced" in caplog.text
    assert "untraced" in caplog.text


def test_without_a_tracer_rows_say_nothing(outbox_relay: ScriptedServer) -> None:
    """A project without OpenTelemetry has an empty column and no more."""
    send_mail("hi", "there", "shop@example.org", [ANN])
    assert OutboxMessage.objects.get().traceparent is None

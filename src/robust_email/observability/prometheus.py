"""The metrics of ``metrics`` for Prometheus (extra ``prometheus``), in one process or added up over many.

Call ``install()`` once in each process that submits mail, in an ``AppConfig.ready()`` say, and serve ``metrics_view``
under a URL that only Prometheus reaches. Where processes are forked (gunicorn, Celery's prefork), set
``PROMETHEUS_MULTIPROC_DIR`` as ``prometheus_client`` asks for it: the view then adds up what all of them wrote.

Counters and histograms follow the engine's events. What the outbox holds is asked of the database when scraped, once
for all processes; a database that does not answer costs these lines and no others.
"""

from __future__ import annotations

import logging
import os
from collections import Counter as Count
from collections import defaultdict
from functools import lru_cache, singledispatchmethod
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.http import HttpResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from robust_email.observability import metrics
from robust_email.registry import registry
from robust_email.smtp.events import (
    AttemptFailed,
    CircuitClosed,
    CircuitOpened,
    Event,
    GovernorDegraded,
    GovernorRestored,
    HeldBack,
    PhaseTimed,
    SessionClosed,
    SessionOpened,
    StaleAnswerUsed,
    Submitted,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

    from robust_email.observability.metrics import Metric
    from robust_email.outbox.models import OutboxMessage
    from robust_email.outbox.selectors import Health

LOGGER: Final = logging.getLogger("robust_email.observability")

_POOL: Final = (metrics.SESSIONS, metrics.SESSIONS_MOST)


@lru_cache(maxsize=1)
def install() -> MetricsWriter:
    """Count from now on, in ``prometheus_client``'s own registry. A second call changes nothing."""
    writer = MetricsWriter(REGISTRY)
    registry.subscribe(writer, phases=True)
    if not _many_processes():
        REGISTRY.register(PoolCollector())
    if apps.is_installed("robust_email.outbox"):
        from robust_email.outbox.signals import settled

        settled.connect(writer.note_settled, dispatch_uid="robust_email.observability.prometheus", weak=False)
        if not _many_processes():
            REGISTRY.register(OutboxCollector())
    return writer


def metrics_view(request: HttpRequest) -> HttpResponse:
    """Answer a scrape, in the format that it asks for. Who may ask is up to the project's URLs."""
    install()
    source = REGISTRY
    if _many_processes():
        source = CollectorRegistry()
        MultiProcessCollector(source)  # type: ignore[no-untyped-call]  # it registers itself
        if apps.is_installed("robust_email.outbox"):
            source.register(OutboxCollector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(source), content_type=content_type)


def _many_processes() -> bool:
    return bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))


class MetricsWriter:
    """A listener that counts. Any thread."""

    def __init__(self, into: CollectorRegistry) -> None:
        """Make the metrics in a registry; ``ValueError`` if it has them already."""
        self._into = into
        self._submissions = self._counter(metrics.SUBMISSIONS)
        self._recipients = self._counter(metrics.RECIPIENTS)
        self._seconds = self._histogram(metrics.SUBMISSION_SECONDS)
        self._phases = self._histogram(metrics.PHASE_SECONDS)
        self._failed = self._counter(metrics.FAILED_ATTEMPTS)
        self._retries = self._counter(metrics.RETRIES)
        self._opened = self._counter(metrics.SESSIONS_OPENED)
        self._closed = self._counter(metrics.SESSIONS_CLOSED)
        self._stale = self._counter(metrics.STALE_ANSWERS)
        self._held = self._counter(metrics.HELD_BACK)
        self._settled = self._counter(metrics.OUTBOX_SETTLED)
        # What the last process learned of a relay's breaker holds for all: the breaker is shared.
        self._breaker = self._gauge(metrics.BREAKER_OPEN, "livemostrecent")
        self._shared = self._gauge(metrics.LIMITS_SHARED, "livemin")
        self._pool = tuple(self._gauge(each, "livesum") for each in _POOL) if _many_processes() else ()

    def __call__(self, event: Event) -> None:
        """Count an event."""
        self._count(event)

    def note_settled(self, message: OutboxMessage, **_: object) -> None:
        """Count an attempt at a mail of the outbox; a receiver of ``outbox.signals.settled``."""
        relay = message.relay.partition(":")[0] if message.relay.startswith("sealed:") else message.relay
        self._settled.labels(relay, message.kind, message.state).inc()

    @singledispatchmethod
    def _count(self, event: Event) -> None:
        """Count nothing for events that are lines of a log and no more."""

    @_count.register
    def _(self, event: PhaseTimed) -> None:
        self._phases.labels(event.endpoint, event.phase.value).observe(event.seconds)

    @_count.register
    def _(self, event: Submitted) -> None:
        relay, report = event.endpoint, event.report
        decisive = report.decisive
        self._submissions.labels(relay, report.kind, decisive.disposition.value, decisive.phase.value).inc()
        self._seconds.labels(relay, decisive.disposition.value).observe(report.seconds)
        for disposition, count in Count(verdict.disposition for verdict in report.verdicts.values()).items():
            self._recipients.labels(relay, report.kind, disposition.value).inc(count)
        self._show_pool()

    @_count.register
    def _(self, event: AttemptFailed) -> None:
        verdict = event.verdict
        self._failed.labels(event.endpoint, verdict.phase.value, verdict.disposition.value).inc()
        if event.retry_in is not None:
            self._retries.labels(event.endpoint).inc()

    @_count.register
    def _(self, event: SessionOpened) -> None:
        self._opened.labels(event.endpoint, event.tls or "none").inc()
        self._show_pool()

    @_count.register
    def _(self, event: SessionClosed) -> None:
        self._closed.labels(event.endpoint).inc()
        self._show_pool()

    @_count.register
    def _(self, event: StaleAnswerUsed) -> None:
        self._stale.labels(event.endpoint).inc()

    @_count.register
    def _(self, event: HeldBack) -> None:
        self._held.labels(event.endpoint).inc()

    @_count.register
    def _(self, event: CircuitOpened | CircuitClosed) -> None:
        self._breaker.labels(event.endpoint).set(isinstance(event, CircuitOpened))

    @_count.register
    def _(self, event: GovernorDegraded | GovernorRestored) -> None:
        self._shared.labels(event.endpoint).set(isinstance(event, GovernorRestored))

    def _show_pool(self) -> None:
        """Where other processes read what this one wrote, a pool is shown as of the last event about it."""
        if self._pool:
            sessions, most = self._pool
            for (relay, state), count in _sessions().items():
                (most.labels(relay) if state == "most" else sessions.labels(relay, state)).set(count)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metrics.PREFIX + metric.name, metric.text, metric.labels, registry=self._into)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(
            metrics.PREFIX + metric.name, metric.text, metric.labels, buckets=metric.buckets, registry=self._into
        )

    def _gauge(self, metric: Metric, mode: Any) -> Gauge:  # noqa: ANN401 - a long Literal that has no name
        return Gauge(
            metrics.PREFIX + metric.name, metric.text, metric.labels, registry=self._into, multiprocess_mode=mode
        )


def _sessions() -> dict[tuple[str, str], int]:
    """Return this process's sessions by relay and state; accounts with the same relay are added up."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for key, client in registry.clients().items():
        stats = client.pool.stats()
        counts = {"leased": stats.leased, "idle": stats.idle, "waiting": stats.waiting, "most": stats.size}
        for state, count in counts.items():
            found[key.config.endpoint, state] += count
    return found


class PoolCollector(Collector):
    """Looks at this process's pools when scraped."""

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing ahead."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges of the pools."""
        sessions, most = (_family(each) for each in _POOL)
        for (relay, state), count in _sessions().items():
            if state == "most":
                most.add_metric([relay], count)
            else:
                sessions.add_metric([relay, state], count)
        yield from (sessions, most)


class OutboxCollector(Collector):
    """Looks at the outbox when scraped, by the few short queries of ``outbox_status``."""

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing ahead: registering it must not ask the database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges of the outbox."""
        from robust_email.outbox import selectors

        up = _family(metrics.OUTBOX_UP)
        try:
            health = selectors.health()
        except Exception:  # whatever the database has: the other metrics are not to be lost for it
            LOGGER.exception("The outbox could not be looked at")
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
            yield from _outbox(health)
        yield up


def _outbox(health: Health) -> Iterator[GaugeMetricFamily]:
    mails, waiting, problems = map(_family, (metrics.OUTBOX_MAILS, metrics.OUTBOX_WAITING, metrics.OUTBOX_PROBLEMS))
    counts = {"queued": health.queued, "due": health.due, "under-way": health.under_way, "lapsed": health.lapsed}
    for state, count in {**counts, **health.ended}.items():
        mails.add_metric([state], count)
    by_relay: Count[str] = Count()
    for relay in health.relays:
        by_relay["sealed" if relay.name.startswith("sealed:") else relay.name] += relay.waiting
    for name, count in by_relay.items():
        waiting.add_metric([name], count)
    for code, count in Count(problem.code for problem in health.problems).items():
        problems.add_metric([code], count)
    oldest, overdue = _family(metrics.OUTBOX_OLDEST), _family(metrics.OUTBOX_OVERDUE)
    oldest.add_metric([], health.oldest)
    overdue.add_metric([], health.overdue)
    yield from (mails, waiting, problems, oldest, overdue)


def _family(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metrics.PREFIX + metric.name, metric.text, labels=metric.labels)

"""The metrics there are, as data: what ``prometheus`` counts, what the reference lists, what the alert rules may name.

No label holds an address, a Message-ID or a subject. ``relay`` is ``host:port``; in the metrics of the outbox it is
the relay's name in its rows. ``kind`` is the word given to ``outbox.enqueue``, or as a message's ``smtp_kind``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "robust_email_"


class Type(enum.Enum):
    """How a metric behaves."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``name`` is without the prefix and, for a counter, without ``_total``."""

    name: str
    type: Type
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Seconds."""

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return f"{PREFIX}{self.name}{'_total' if self.type is Type.COUNTER else ''}"


_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

SUBMISSIONS: Final = Metric(
    "submissions",
    Type.COUNTER,
    "Mails that a submission came to an end for, by what speaks for the mail: `disposition` (accepted, deferred, "
    "refused, in-doubt) at `phase`.",
    ("relay", "kind", "disposition", "phase"),
)
RECIPIENTS: Final = Metric(
    "recipients", Type.COUNTER, "Recipients of these mails, each by its own verdict.", ("relay", "kind", "disposition")
)
SUBMISSION_SECONDS: Final = Metric(
    "submission_seconds",
    Type.HISTOGRAM,
    "How long a submission took, retries and waiting for a session included.",
    ("relay", "disposition"),
    _SECONDS,
)
PHASE_SECONDS: Final = Metric(
    "phase_seconds",
    Type.HISTOGRAM,
    "How long a phase took that ended well. `pool` is waiting for a session where all were in use.",
    ("relay", "phase"),
    _SECONDS,
)
FAILED_ATTEMPTS: Final = Metric(
    "failed_attempts",
    Type.COUNTER,
    "Attempts that got no session, or lost it before the end of data.",
    ("relay", "phase", "disposition"),
)
RETRIES: Final = Metric("retries", Type.COUNTER, "Failed attempts that were followed by another at once.", ("relay",))
SESSIONS_OPENED: Final = Metric("sessions_opened", Type.COUNTER, "Sessions opened, by TLS version.", ("relay", "tls"))
SESSIONS_CLOSED: Final = Metric("sessions_closed", Type.COUNTER, "Sessions that ended.", ("relay",))
SESSIONS: Final = Metric(
    "sessions",
    Type.GAUGE,
    "Sessions of the pools by `state`: leased, idle; and `waiting`, which are callers.",
    ("relay", "state"),
)
SESSIONS_MOST: Final = Metric("sessions_most", Type.GAUGE, "Sessions that the pools may have.", ("relay",))
STALE_ANSWERS: Final = Metric(
    "stale_dns_answers", Type.COUNTER, "Times that DNS failed and old addresses were used instead.", ("relay",)
)
HELD_BACK: Final = Metric("held_back", Type.COUNTER, "Times that mail waited for a limit of its relay.", ("relay",))
BREAKER_OPEN: Final = Metric(
    "breaker_open", Type.GAUGE, "1 while the relay failed so often that it is tried by one at a time.", ("relay",)
)
LIMITS_SHARED: Final = Metric(
    "limits_shared", Type.GAUGE, "0 while the store that shares limits between processes is gone.", ("relay",)
)

OUTBOX_SETTLED: Final = Metric(
    "outbox_settled",
    Type.COUNTER,
    "Attempts at mails of the outbox, by the `state` that each left its mail in; `queued` is another retry.",
    ("relay", "kind", "state"),
)
OUTBOX_MAILS: Final = Metric(
    "outbox_mails",
    Type.GAUGE,
    "Mails by `state`: queued, due (of these), under-way, lapsed (of these), and the ends that need a person.",
    ("state",),
)
OUTBOX_WAITING: Final = Metric("outbox_waiting", Type.GAUGE, "Mails that wait, by relay.", ("relay",))
OUTBOX_OLDEST: Final = Metric("outbox_oldest_waiting_seconds", Type.GAUGE, "Since the oldest waiting mail was made.")
OUTBOX_OVERDUE: Final = Metric(
    "outbox_overdue_seconds", Type.GAUGE, "For which the mail that is due longest has been due."
)
OUTBOX_PROBLEMS: Final = Metric(
    "outbox_problems", Type.GAUGE, "Problems that `outbox_status` tells of, by their `code`.", ("code",)
)
OUTBOX_UP: Final = Metric("outbox_up", Type.GAUGE, "1 if the outbox could be looked at for this scrape, else 0.")

METRICS: Final[tuple[Metric, ...]] = tuple(each for each in list(vars().values()) if isinstance(each, Metric))
"""All of them, in the order of the reference."""

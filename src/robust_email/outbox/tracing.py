"""Which trace a mail belongs to: kept in its row, never in a broker's message. Without a tracer nothing happens here.

``observability.opentelemetry`` is one. Whatever a tracer raises is logged, and costs no mail.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from robust_email.outbox.database import logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from robust_email.outbox.models import OutboxMessage


class Tracer(Protocol):
    """What a system of traces has to offer."""

    def traceparent(self) -> str:
        """Return where the caller is now, in the words of W3C Trace Context; empty for nowhere."""
        ...

    def handing_over(self, rows: Sequence[OutboxMessage]) -> AbstractContextManager[object]:
        """Go on with the traces of these mails inside the block."""
        ...


class _Tracing:
    """The tracer in use."""

    tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Trace by it from now on; None ends that."""
    _Tracing.tracer = tracer


def traceparent() -> str:
    """Return what to keep in the row of a mail that is being written now."""
    if _Tracing.tracer is None:
        return ""
    try:
        return _Tracing.tracer.traceparent()
    except Exception:  # noqa: BLE001 - an observer must not cost a mail
        logger.exception("A mail is not traced")
        return ""


@contextmanager
def handing_over(rows: Sequence[OutboxMessage]) -> Iterator[None]:
    """Go on with the traces of these mails inside the block."""
    with ExitStack() as stack:
        if _Tracing.tracer is not None:
            try:
                stack.enter_context(_Tracing.tracer.handing_over(rows))
            except Exception:  # noqa: BLE001 - the same
                logger.exception("%d mails are handed over untraced", len(rows))
        yield

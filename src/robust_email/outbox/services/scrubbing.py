"""Which bodies are removed when a mail has ended, and how: with secrets in them they are not kept a moment longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet

    from robust_email.outbox.models import OutboxMessage

SCRUBBED_STATES: Final = frozenset({State.ACCEPTED, State.SUPERSEDED, State.EXPIRED, State.CANCELLED})
"""Accepted, or never to be submitted. What a person may still want to send keeps its body until it is purged."""

NO_BODY: Final[dict[str, Any]] = {"content": None, "content_name": ""}


def is_scrubbed(row: OutboxMessage) -> bool:
    """Tell whether this mail's body goes with its end."""
    rule = outbox_settings().scrub
    return rule == "all" or (rule == "sensitive" and row.sensitive)


def scrubbed(rows: QuerySet[OutboxMessage]) -> QuerySet[OutboxMessage]:
    """Narrow to those whose bodies go with their end."""
    rule = outbox_settings().scrub
    if rule == "all":
        return rows
    return rows.filter(sensitive=True) if rule == "sensitive" else rows.none()


def without_bodies(rows: QuerySet[OutboxMessage]) -> Iterator[tuple[QuerySet[OutboxMessage], dict[str, Any]]]:
    """Split into those that lose their bodies and those that keep them, each with the columns to change.

    The split is lazy: an UPDATE of the first part takes its rows out of a query by state, and so out of the second.
    """
    yield scrubbed(rows), NO_BODY
    if outbox_settings().scrub != "all":
        yield rows, {}

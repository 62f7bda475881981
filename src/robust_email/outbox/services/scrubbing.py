"""Which bodies are removed when a mail has ended, and how: with secrets in them they are not kept a moment longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.states import State

if TYPE_CHECKING:
    from robust_email.outbox.models import OutboxMessage

SCRUBBED_STATES: Final = frozenset({State.ACCEPTED, State.SUPERSEDED, State.EXPIRED, State.CANCELLED})
"""Accepted, or never to be submitted. What a person may still want to send keeps its body until it is purged."""

NO_BODY: Final[dict[str, Any]] = {"content": None, "content_name": ""}


def is_scrubbed(row: OutboxMessage) -> bool:
    """Tell whether this mail's body goes with its end."""
    rule = outbox_settings().scrub
    return rule == "all" or (rule == "sensitive" and row.sensitive)

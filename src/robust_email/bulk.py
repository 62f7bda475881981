"""What ``send_messages()`` of many came to, for a caller who gets an exception instead of a count.

One bad message does not stop the rest: all are tried, then the first error is raised. Whoever catches it must know
that others of the batch were accepted, or he sends those again; so the error says it, in words and as ``error.bulk``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from django.core.mail import EmailMessage

MOST_FAILURES: Final = 100
"""Failures kept with their messages; an iterator of a million messages must not be held in memory by its errors."""


@dataclass(slots=True)
class BulkResult:
    """Counts of messages, and those that failed with their errors, a hundred at most."""

    messages: int = 0
    """Taken from the caller, those without recipients included."""
    accepted: int = 0
    """Accepted for at least one recipient: what ``send_messages()`` would have returned."""
    failed: int = 0
    _failures: list[tuple[int, EmailMessage, Exception]] = field(default_factory=list)

    def failure(self, number: int, message: EmailMessage, error: Exception) -> None:
        """Note that the message with this number in the caller's order ended in an error."""
        self.failed += 1
        if len(self._failures) < MOST_FAILURES:
            self._failures.append((number, message, error))

    @property
    def failures(self) -> list[tuple[EmailMessage, Exception]]:
        """The messages that failed and their errors, in the caller's order, whichever ended first."""
        in_order = sorted(self._failures, key=lambda failure: failure[0])
        return [(message, error) for _, message, error in in_order]

    def count(self) -> int:
        """Return how many messages were accepted, or raise the first error, with this result attached to it."""
        if not self._failures:
            return self.accepted
        error = self.failures[0][1]
        if self.messages > 1:
            error.add_note(
                f"{self.accepted} of {self.messages} messages were accepted and {self.failed} failed; this is the "
                "first failure. Look at error.bulk.failures, or at message.smtp_report, before sending any again."
            )
        vars(error).update(bulk=self, accepted_count=self.accepted)
        raise error

"""Mails that django-post_office has queued or requeued.

It has no state for mail that went elsewhere, so a moved one is ``failed``, which it does not try again by itself, with
a log entry that names the row of the outbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.utils import timezone

from robust_email.outbox.importing.moving import Taken, Unusable
from robust_email.outbox.models import OutboxMessage, Priority

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

FAILED: Final = 1
WAITING: Final = (2, 3)
"""Queued, requeued."""
PRIORITIES: Final = {0: Priority.LOW, 1: Priority.NORMAL, 2: Priority.HIGH, 3: Priority.HIGH}


class PostOffice:
    """The table of django-post_office; mails of one ``backend_alias``, since each is a relay of its own."""

    name = "post_office"

    def __init__(self, alias: str) -> None:
        """``LookupError`` if ``post_office`` is not among the installed apps."""
        theirs = apps.get_app_config("post_office")
        self._emails: Any = theirs.get_model("Email")
        self._log: Any = theirs.get_model("Log")
        self._aliases = ["", "default"] if alias == "default" else [alias]

    def waiting(self) -> QuerySet[Model]:
        """Return what waits, scheduled mails included, the urgent ones first."""
        found: QuerySet[Model] = self._emails.objects.filter(status__in=WAITING, backend_alias__in=self._aliases)
        return found.order_by("-priority", "created", "pk")

    def take(self, row: Any) -> Taken:  # noqa: ANN401 - its models have no types
        """Render the row as its own worker would; attachments are read now."""
        now = timezone.now()
        if row.expires_at is not None and row.expires_at <= now:
            raise Unusable("it has expired")
        later = row.scheduled_time if row.scheduled_time is not None and row.scheduled_time > now else None
        return Taken(
            message=row.prepare_email_message(),
            priority=PRIORITIES.get(row.priority, Priority.NORMAL),
            send_after=later,
            expires_at=row.expires_at,
        )

    def mark(self, row: Any, moved_to: OutboxMessage) -> None:  # noqa: ANN401 - as above
        """End it there, and say in its log where it is."""
        self._emails.objects.filter(pk=row.pk).update(status=FAILED, last_updated=timezone.now())
        self._log.objects.create(email_id=row.pk, status=FAILED, message=f"Moved to the outbox as {moved_to.pk}")

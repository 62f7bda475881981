"""Mails that wait in django-mailer's table, deferred ones included.

As when it has sent a mail, the row goes to its ``MessageLog``: with the result "don't send", and the outbox's key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.apps import apps

from robust_email.outbox.importing.moving import Taken, Unusable
from robust_email.outbox.models import OutboxMessage, Priority

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

DONT_SEND: Final = "2"
PRIORITIES: Final = {1: Priority.HIGH, 2: Priority.NORMAL, 3: Priority.LOW}


class DjangoMailer:
    """The table of django-mailer, whose mails are pickles: as trustworthy as whoever may write to that table."""

    name = "django_mailer"

    def __init__(self) -> None:
        """``LookupError`` if ``mailer`` is not among the installed apps."""
        theirs = apps.get_app_config("mailer")
        self._messages: Any = theirs.get_model("Message")
        self._log: Any = theirs.get_model("MessageLog")

    def waiting(self) -> QuerySet[Model]:
        """Return what waits, in its order."""
        found: QuerySet[Model] = self._messages.objects.order_by("priority", "when_added", "pk")
        return found

    def take(self, row: Any) -> Taken:  # noqa: ANN401 - its models have no types
        """Unpickle the message."""
        message = row.email
        if message is None:
            raise Unusable("its message cannot be unpickled")
        return Taken(message=message, priority=PRIORITIES.get(row.priority, Priority.NORMAL))

    def mark(self, row: Any, moved_to: OutboxMessage) -> None:  # noqa: ANN401 - as above
        """Log it and remove it, as after sending."""
        self._log.objects.log(row, DONT_SEND, log_message=f"Moved to the outbox as {moved_to.pk}")
        self._messages.objects.filter(pk=row.pk).delete()

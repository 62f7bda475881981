"""What the commands share by which a person decides mails: each by its key, and those that cannot be are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.services.operating import NotPossible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from django.core.management.base import BaseCommand


def decide(command: BaseCommand, keys: Iterable[UUID], decision: Callable[[UUID], OutboxMessage]) -> int:
    """Apply the decision to each mail and say what became of it; return of how many it was not possible."""
    failed = 0
    for pk in keys:
        try:
            row = decision(pk)
        except (NotPossible, OutboxMessage.DoesNotExist) as exc:
            command.stderr.write(f"{pk}: {exc}")
            failed += 1
        else:
            command.stdout.write(f"{pk} {row.state}")
    return failed

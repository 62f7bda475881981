"""``outbox_cancel``: withdraw mails that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from robust_email.outbox.management.deciding import decide
from robust_email.outbox.services import operating

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exit code 1 if one of the mails could not be withdrawn."""

    help = "Withdraw mails that wait, are in doubt, or were given up. One that a worker has goes on its way."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("message", nargs="+", type=UUID, help="the mail's key")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Withdraw them."""
        failed = decide(self, options["message"], operating.cancel)
        if failed:
            raise CommandError(f"{failed} mails were not cancelled.")

"""``outbox_resolve``: decide a doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from robust_email.outbox.management.deciding import decide
from robust_email.outbox.services import operating

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exit code 1 if one of the mails could not be resolved."""

    help = (
        "Decide mails that are held in doubt: the relay may have them and has not said so. Look for the Message-ID in "
        "its log, then say --accepted, or --resend to submit the same octets again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("message", nargs="+", type=UUID, help="the mail's key")
        decision = parser.add_mutually_exclusive_group(required=True)
        decision.add_argument("--accepted", action="store_true", help="the relay has it")
        decision.add_argument("--resend", action="store_true", help="it has not, or a double does no harm")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Resolve them."""
        failed = decide(self, options["message"], lambda pk: operating.resolve(pk, accepted=options["accepted"]))
        if failed:
            raise CommandError(f"{failed} mails were not resolved.")

"""``outbox_requeue``: submit again what was given up, and ask a relay again that refused our configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from robust_email.outbox.management.deciding import decide
from robust_email.outbox.services import operating
from robust_email.outbox.states import State

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exit code 1 if one of the mails named could not be queued."""

    help = (
        "Queue mails again, for the recipients that have not accepted them, with a new retry schedule. Names mails by "
        "key, or all that are dead. --relay NAME and --all-relays let a relay that was in trouble be asked at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("message", nargs="*", type=UUID, help="the mail's key")
        parser.add_argument("--dead", action="store_true", help="all that were given up")
        parser.add_argument("--kind", help="with --dead: only of this kind")
        parser.add_argument("--relay", action="append", default=[], help="a relay's name, as outbox_status shows it")
        parser.add_argument("--all-relays", action="store_true", help="all relays in trouble")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Queue them."""
        if not (options["message"] or options["dead"] or options["relay"] or options["all_relays"]):
            raise CommandError("Say which mails or relays.")
        failed = decide(self, options["message"], operating.requeue)
        while options["dead"] and (found := operating.ended_in([State.DEAD], kind=options["kind"])):
            if decide(self, found, operating.requeue) == len(found):
                break
        resumed = operating.resume_all_relays() if options["all_relays"] else []
        resumed += [name for name in options["relay"] if operating.resume_relay(name)]
        for name in resumed:
            self.stdout.write(f"relay {name} is asked again")
        if failed:
            raise CommandError(f"{failed} mails were not queued.")

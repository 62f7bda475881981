"""``suppression_purge``: remove suppressions that are over, and old evidence."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from robust_email.suppression.retention import purge

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """For cron, once a day."""

    help = (
        "Remove suppressions that are over, and evidence that nothing depends on any more, once "
        "EMAIL_SUPPRESSION_RETENTION keeps them no longer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Remove them."""
        for what, count in asdict(purge(dry_run=options["dry_run"])).items():
            self.stdout.write(f"{what:<12} {count:>8}{' would be' if options['dry_run'] else ''} removed")

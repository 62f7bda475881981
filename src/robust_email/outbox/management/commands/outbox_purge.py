"""``outbox_purge``: remove what has ended long enough ago, and files that were left over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from robust_email.outbox.services.sweeping import purge
from robust_email.outbox.services.tidying import remove_forgotten_files

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """For cron, once a day."""

    help = (
        "Remove mails, with their attempts, that ended longer ago than EMAIL_OUTBOX_RETENTION keeps them; and, with "
        "EMAIL_OUTBOX_STORAGE, files of its folder outbox/ that are a day old and that no mail of this database names."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Remove them."""
        would = " would be" if options["dry_run"] else ""
        for state, count in purge(dry_run=options["dry_run"]).items():
            self.stdout.write(f"{state.value:<10} {count:>8}{would} removed")
        if files := remove_forgotten_files(dry_run=options["dry_run"]):
            self.stdout.write(f"{'left over':<10} {files:>8}{would} removed")

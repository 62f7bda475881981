"""``outbox_import``: move the mail that waits in another package's queue into the outbox, after a look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from robust_email.outbox.importing.django_mailer import DjangoMailer
from robust_email.outbox.importing.moving import move
from robust_email.outbox.importing.post_office import PostOffice

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from robust_email.outbox.importing.moving import Source


class Command(BaseCommand):
    """Exit code 1 if a mail could not be moved; it stays where it is."""

    help = (
        "Move the mails that wait in django-post_office or django-mailer into the outbox. Without --move it is a dry "
        "run: every mail is made and none is written. Stop the other package's workers first, since a mail that one "
        "of them is just submitting would go out twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--from", dest="source", required=True, choices=("post_office", "django_mailer"))
        parser.add_argument("--move", action="store_true", help="do it; otherwise only say what would be done")
        parser.add_argument("--limit", type=int, help="mails at most; run it again for the rest")
        parser.add_argument("--kind", default="", help="the outbox's word for these mails")
        parser.add_argument("--alias", default="default", help="post_office: the mails of this backend_alias")
        parser.add_argument("--relay", default="", help="hand them over by this relay, as outbox.enqueue takes it")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Move, and say what happened to each that stays."""
        source = _source(options["source"], options["alias"])
        dry_run = not options["move"]
        report = move(source, dry_run=dry_run, limit=options["limit"], kind=options["kind"], relay=options["relay"])
        for key, reason in report.unusable:
            self.stderr.write(f"{source.name} {key} stays: {reason}")
        done = "would be moved (this is a dry run; --move does it)" if dry_run else "moved"
        self.stdout.write(f"{report.moved} of {report.found} waiting mails {done}")
        if report.unusable:
            raise CommandError(f"{len(report.unusable)} mails stay where they are.")


def _source(name: str, alias: str) -> Source:
    try:
        return PostOffice(alias) if name == "post_office" else DjangoMailer()
    except LookupError as exc:
        app = "post_office" if name == "post_office" else "mailer"
        raise CommandError(f"{app!r} is not among INSTALLED_APPS; its tables are read through it.") from exc

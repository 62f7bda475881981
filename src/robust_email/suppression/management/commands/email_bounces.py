"""``email_bounces``: read the mailbox that bounces come to, and suppress whom they prove to be unreachable."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from robust_email.outbox.database import database as outbox_database
from robust_email.suppression import mailboxes, selectors
from robust_email.suppression.services import BounceOutcome, process_bounce

if TYPE_CHECKING:
    from argparse import ArgumentParser

PASSWORD_VARIABLE = "EMAIL_BOUNCES_PASSWORD"  # noqa: S105 - the variable's name


class Command(BaseCommand):
    """Run it from cron or a timer. A mail is marked as seen once it was dealt with, and stays where it is."""

    help = (
        "Read the unseen mails of a Maildir or of an IMAP folder, and suppress the recipients whom genuine bounces and "
        "complaints among them are about, as EMAIL_SUPPRESSION_POLICY says. Exits with 1 if the mailbox or one of the "
        "mails cannot be read; such a mail stays unseen, and the others are dealt with."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--maildir", type=Path, help="path of a Maildir")
        where.add_argument("--imap", metavar="HOST[:PORT]", help="an IMAP server with TLS; port 993 unless given")
        parser.add_argument("--user", help="who logs in at the IMAP server")
        parser.add_argument(
            "--password-env",
            default=PASSWORD_VARIABLE,
            metavar="NAME",
            help=f"the environment variable that holds the password ({PASSWORD_VARIABLE})",
        )
        parser.add_argument("--folder", default="INBOX", help="the IMAP folder (INBOX)")
        parser.add_argument("--ca-file", help="PEM file of the authorities to trust, for a server of your own")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Read, and print how many mails came to what."""
        outcomes: Counter[BounceOutcome] = Counter()
        failed = 0

        def deal(raw: bytes) -> None:
            nonlocal failed
            try:
                outcomes[process_bounce(raw).outcome] += 1
            except Exception as exc:
                _expect_databases()
                failed += 1
                raise mailboxes.LeftAside from exc

        account = None if options["imap"] is None else _account(options)
        try:
            if account is not None:
                count = mailboxes.read_imap(account, deal)
            else:
                count = mailboxes.read_maildir(options["maildir"], deal)
        except mailboxes.MailboxUnavailable as exc:
            raise CommandError(str(exc)) from exc
        said = ", ".join(f"{outcomes[outcome]} {outcome.value}" for outcome in BounceOutcome if outcomes[outcome])
        self.stdout.write(f"{count} mails read{': ' + said if said else ''}")
        if failed:
            raise CommandError(f"{failed} mails failed and stay unseen; the log says why.")


def _expect_databases() -> None:
    """Raise ``OperationalError`` if a database is away: it is not the mail's fault then, and no other fares better."""
    for alias in {outbox_database(), selectors.database()}:
        connections[alias].close_if_unusable_or_obsolete()
        connections[alias].ensure_connection()


def _account(options: dict[str, Any]) -> mailboxes.ImapAccount:
    host, _, port = options["imap"].rpartition(":") if ":" in options["imap"] else (options["imap"], "", "993")
    password = os.environ.get(options["password_env"], "")
    if not port.isdigit() or not host:
        raise CommandError("--imap is HOST or HOST:PORT.")
    if not (options["user"] and password):
        raise CommandError(f"--imap needs --user, and the password in the variable {options['password_env']}.")
    return mailboxes.ImapAccount(
        host=host,
        port=int(port),
        user=options["user"],
        password=password,
        folder=options["folder"],
        cafile=options["ca_file"],
    )

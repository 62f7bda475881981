"""``manage.py email_doctor [alias]``: examine the relay of this project step by step, and say what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from robust_email.diagnosis import NothingToExamine, known_aliases, plan_for
from robust_email.doctor.command import USAGE_ERROR, add_options
from robust_email.doctor.showing import run_and_show, show

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exit code 0: fine, 1: a warning, 2: an error (mail is not accepted), 64: a wrong call."""

    help = (
        "Examine the way from this process to its mail relay: configuration, DNS, TCP, TLS, log-in, a dry run of an "
        "envelope, speed, and the sender's domain. Exits with 0, 1 (a warning) or 2 (an error)."
    )
    # What is wrong with the settings is for the report to say, not for a traceback before it.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("alias", nargs="?", help="of MAILERS (Django 6.1); the default mailer unless given")
        add_options(parser)

    def handle(self, *_: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Examine, print, and exit."""
        try:
            plan = plan_for(
                options["alias"],
                timeout=options["timeout"],
                recipient=options["to"],
                quick=options["quick"],
                idle=options["idle"],
                dkim_selectors=tuple(options["dkim_selector"]),
            )
        except NothingToExamine as exc:
            report = exc.report
            show(report, self.stdout, as_json=options["json"])
        except KeyError as exc:
            known = ", ".join(known_aliases())
            raise CommandError(
                f"There is no mailer {options['alias']!r}; there is: {known}.", returncode=USAGE_ERROR
            ) from exc
        else:
            plain = options["plain"] or options["no_color"] or not self.stdout.isatty()
            report = run_and_show(plan, self.stdout, as_json=options["json"], plain=plain)
        if report.exit_code:
            sys.exit(report.exit_code)

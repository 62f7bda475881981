"""``outbox_status``: the outbox at a glance, and a health check by its exit code."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from robust_email.outbox import selectors
from robust_email.outbox.states import State

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from robust_email.outbox.selectors import Health, RelayHealth


class Command(BaseCommand):
    """Exit code 1 if something is wrong, as the last lines say."""

    help = (
        "Show what waits, what is in doubt or given up, and each relay. Exits with 1 if a mail has been due for longer "
        "than EMAIL_OUTBOX_ALERT_AGE, if dead workers' mails were not swept, or if a relay refuses our configuration."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--max-overdue", type=float, help="seconds, instead of EMAIL_OUTBOX_ALERT_AGE")
        parser.add_argument("--max-in-doubt", type=int, help="fail if more mails are held in doubt")
        parser.add_argument("--max-dead", type=int, help="fail if more mails are given up")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Print, and exit with 1 if something is wrong."""
        health = selectors.health(alert_age=options["max_overdue"])
        findings = [*health.findings, *_beyond(health, options)]
        if options["json"]:
            self.stdout.write(json.dumps({**health.as_dict(), "findings": findings}))
        else:
            self._print(health, findings)
        if findings:
            sys.exit(1)

    def _print(self, health: Health, findings: list[str]) -> None:
        self.stdout.write(f"queued     {health.queued:>8}   of these {health.due} due now")
        self.stdout.write(f"under way  {health.under_way:>8}")
        for state, count in health.ended.items():
            self.stdout.write(f"{state:<10} {count:>8}")
        if health.queued:
            self.stdout.write(f"the oldest was made {health.oldest:.0f} s ago; due for up to {health.overdue:.0f} s")
        for relay in health.relays:
            self.stdout.write(f"relay {relay.name}: {relay.waiting} waiting{_trouble_of(relay)}")
        for finding in findings:
            self.stderr.write(self.style.ERROR(finding))


def _trouble_of(relay: RelayHealth) -> str:
    if not relay.trouble or relay.ask_again_in is None:
        return ""
    return f"   {relay.trouble}, asked again in {relay.ask_again_in:.0f} s: {relay.reason}"


def _beyond(health: Health, options: dict[str, Any]) -> list[str]:
    limits = ((State.IN_DOUBT, options["max_in_doubt"]), (State.DEAD, options["max_dead"]))
    return [
        f"{health.ended[state.value]} mails are {state.value} (limit {limit})."
        for state, limit in limits
        if limit is not None and health.ended[state.value] > limit
    ]

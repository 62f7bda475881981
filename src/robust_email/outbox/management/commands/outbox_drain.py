"""``outbox_drain``: hand over what waits, for cron and small sites, or as a service with ``--forever``."""

from __future__ import annotations

import json
import signal
import threading
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DbError

from robust_email.outbox import selectors
from robust_email.outbox.draining import Drain, Plan

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from robust_email.outbox.dispatch import Tally
    from robust_email.outbox.services.sweeping import Swept

BAR: int = 40


class Command(BaseCommand):
    """Exit code 0 when it came to its end, 1 when the database was away."""

    help = (
        "Hand over the mails of the outbox that are due. Any number may run at once, on any number of hosts. "
        "On SIGTERM and SIGINT it finishes what is on the way to a relay, gives back the rest and ends."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--until-empty", action="store_true", help="go on until no mail is due")
        how.add_argument("--forever", action="store_true", help="run as a service")
        parser.add_argument("--max-seconds", type=float, help="begin nothing new after that many seconds")
        parser.add_argument("--batch", type=int, help="mails claimed at a time (default: EMAIL_OUTBOX_BATCH)")
        parser.add_argument("--concurrency", type=int, default=1, help="threads, each with a session of its own")
        parser.add_argument("--json", action="store_true", help="print one JSON object per line for each step")

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - Django's
        """Run the drain."""
        self._json: bool = options["json"]
        if options["concurrency"] < 1 or (options["batch"] or 1) < 1:
            raise CommandError("--concurrency and --batch are at least 1.")
        drain = Drain(
            Plan(
                forever=options["forever"],
                until_empty=options["until_empty"],
                max_seconds=options["max_seconds"],
                batch=options["batch"],
                concurrency=options["concurrency"],
            ),
            on_batch=self._tell,
            on_sweep=self._tell_swept,
        )
        self._total = self._due = 0
        self._in_bar = False
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: drain.stop())
        try:
            if self._shows_bar() and (due := selectors.health().due):
                self._due = due
                self._draw()
            tally = drain.run()
        except DbError as exc:
            self._leave_bar()
            raise CommandError(f"The outbox's database is away: {exc}") from exc
        self._finish(tally)

    def _shows_bar(self) -> bool:
        return self.stdout.isatty() and not self._json

    def _tell(self, tally: Tally) -> None:
        self._total += tally.claimed
        if self._json:
            self._line("batch", **_plain(tally))
        elif self._shows_bar():
            self._draw()

    def _draw(self) -> None:
        of = max(self._due, self._total)
        bar = "#" * (BAR * self._total // of)
        # The cursor goes back: a warning in the log, which goes to the same terminal, then begins where a line does.
        self.stdout.write(f"[{bar:<{BAR}}] {self._total} of {of}", ending="\r")
        self.stdout.flush()
        self._in_bar = True

    def _leave_bar(self) -> None:
        """Begin a new line, so that nothing is said behind the bar."""
        if self._in_bar:
            self.stdout.write("")
            self._in_bar = False

    def _tell_swept(self, swept: Swept) -> None:
        if self._json and swept.total:
            self._line("sweep", requeued=swept.requeued, resent=swept.resent, held=swept.held, expired=swept.expired)

    def _finish(self, tally: Tally) -> None:
        if self._json:
            self._line("end", **_plain(tally))
            return
        self._leave_bar()
        words = ", ".join(f"{count} {state}" for state, count in sorted(_plain(tally)["states"].items()))
        self.stdout.write(f"{tally.claimed} mails taken: {words or 'nothing was due'}.")

    def _line(self, step: str, **facts: object) -> None:
        self.stdout.write(json.dumps({"step": step, **facts}))
        self.stdout.flush()


def _plain(tally: Tally) -> dict[str, Any]:
    states = {state.value: count for state, count in tally.states.items()}
    return {"claimed": tally.claimed, "released": tally.released, "states": states}

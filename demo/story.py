"""The demonstration: a customer registers while DNS is down, the relay hangs up on the retry, the next one succeeds.

Every fault is a real one: a name that does not resolve, a TCP connection that is closed in the middle of SMTP. The
server's own ledger is the judge of the end: one mail, once.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from demo import RELAY
from demo.attempts import attempts_in
from demo.shop import SIGN_UP, VERIFY, Shop
from robust_email.testing import At, Close, Extensions, Fault, Script, ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

    from demo.display import Display
    from demo.processes import Service
    from demo.records import LogFile, Record

CUSTOMER: Final = "ada@customer.example"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - a customer of a demonstration
PATIENCE: Final = 45.0
"""Seconds for the whole story, after which the mail counts as lost."""

HANGS_UP: Final = 4
"""One attempt of the task tries three sessions (EMAIL_CONNECTION_RETRY_ATTEMPTS), so the fourth is in the next one."""

# Without CHUNKING there is a DATA to answer. In place of the answer the server hangs up, and certainly does not have
# the mail: trying again is safe.
RELAY_SCRIPT: Final = Script(
    extensions=Extensions(chunking=False),
    faults=[Fault(At.DATA, Close(), times=HANGS_UP)],
    host_name=RELAY,
)
_CODE: Final = re.compile(rb"^ +([A-Z]{4}-[A-Z]{4})\s*$", re.MULTILINE)


class MailLost(Exception):
    """The mail will not come; the text says why."""


class Story:
    """Runs once; ``tell`` returns whether the mail arrived exactly once."""

    def __init__(self, service: Service, relay: ScriptedServer, zone: Path, log: LogFile, display: Display) -> None:
        self._service = service
        self._relay = relay
        self._zone = zone
        self._log = log
        self._show = display
        self._records: list[Record] = []
        self._deadline = time.monotonic() + PATIENCE

    def tell(self) -> bool:
        """Start everything, live through the faults, stop everything, judge."""
        show = self._show
        show.chapter("The service starts")
        show.step(f"a scripted SMTP server listens on port {self._relay.port}; its name is {RELAY}")
        with self._service.web(0) as url, self._service.worker():
            show.step(f"the shop's API answers on {url}; a Celery worker waits for tasks")
            try:
                arrived = self._mail_survives(Shop(url))
            except MailLost as lost:
                show.step(str(lost), good=False)
                arrived = False
            show.step("the web server and the worker are asked to stop; the worker takes some seconds for it")
        return self._judge(arrived=arrived)

    def _mail_survives(self, shop: Shop) -> bool:
        show = self._show
        show.chapter("A customer registers, and DNS is down")
        show.trouble(f"DNS does not know {RELAY}: getaddrinfo fails with -5, as in a container without a nameserver")
        answer = shop.register(CUSTOMER, PASSWORD)
        waited = f"{answer.seconds * 1000:.0f} ms"
        show.step(f"POST {SIGN_UP} -> {answer.status}, enter the code, after {waited}; the customer waits for a mail")
        self._follow_until(" retry: ")

        show.chapter("DNS is back, and the relay hangs up in the middle")
        self._zone.write_text(self._relay.host)
        show.trouble(
            f"DNS answers again; in place of its reply to DATA the relay closes the connection, {HANGS_UP} times"
        )
        self._follow_until(" retry: ")

        show.chapter("The next retry succeeds, although the relay hangs up once more")
        self._follow_until("'status': 'success', 'message_id'")
        return self._code_works(shop)

    def _code_works(self, shop: Shop) -> bool:
        received = self._relay.accepted[0]
        self._show.mail(received)
        found = _CODE.search(received.data)
        if found is None:
            self._show.step("there is no code in the mail", good=False)
            return False
        answer = shop.verify(found[1].decode())
        words = "confirmed and logged in" if answer.status == 200 else "the code is not taken"  # noqa: PLR2004 - HTTP's OK
        self._show.step(f"POST {VERIFY} with the code -> {answer.status}: {words}")
        return answer.status == 200  # noqa: PLR2004 - HTTP's OK

    def _follow_until(self, words: str) -> None:
        """Show the log up to Celery's line with these words; raises ``MailLost`` when it cannot come any more."""
        while time.monotonic() < self._deadline:
            for record in self._log.new_records():
                self._records.append(record)
                if _is_of_no_interest(record):
                    continue
                self._show.record(record)
                if record.logger == "celery.app.trace":
                    if words in record.message:
                        return
                    if " retry: " not in record.message:
                        raise MailLost("the task ended otherwise than it should")
            time.sleep(0.05)
        raise MailLost(f"no mail within {PATIENCE:.0f} s")

    def _judge(self, *, arrived: bool) -> bool:
        """Ask the server's ledger. The service has stopped, so no second copy can come any more."""
        self._show.step("they have stopped: no second copy can come any more")
        self._records += self._log.new_records()
        attempts = attempts_in(self._records)
        self._show.chapter("Every attempt of the task")
        self._show.attempts(attempts)
        copies = len(self._relay.accepted)
        same = {attempt.message_id for attempt in attempts} == {message.message_id for message in self._relay.accepted}
        good = arrived and copies == 1 and same
        words = "The mail arrived once: not lost, not doubled" if good else f"The server took the mail {copies} times"
        told = ", ".join(f"{count} x {verb}" for verb, count in self._relay.commands.items())
        seen = f"the server saw {self._relay.connections} connections ({told})"
        self._show.verdict(f"{words}.\n{len(attempts)} attempts under one Message-ID; {seen}.", good=good)
        return good


def _is_of_no_interest(record: Record) -> bool:
    """Tell whether a task only looked: the sweep, and one that found the mail taken by another."""
    return ".sweep" in record.message or "'status': 'skipped'" in record.message

"""``make run``: web, worker and mail catcher, until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from demo import RELAY
from demo.catcher import mail_page

if TYPE_CHECKING:
    from types import FrameType

    from demo.display import Display
    from demo.processes import Service
    from demo.records import LogFile
    from robust_email.testing import ScriptedServer


def stay(service: Service, relay: ScriptedServer, log: LogFile, display: Display, *, web_port: int) -> None:
    """Serve until interrupted or asked to end; show the log and every mail that arrives."""
    signal.signal(signal.SIGTERM, _interrupt)
    with (
        contextlib.suppress(KeyboardInterrupt),
        mail_page(relay) as mail_url,
        service.web(web_port) as url,
        service.worker(),
    ):
        display.step(f"The shop:     {url}/  (register here; the mails in all languages: {url}/mails/)")
        display.step(f"Mail catcher: {mail_url}  (SMTP on {relay.host}:{relay.port}, by the name of {RELAY})")
        display.step(f"API:          {url}/api/docs/  and, for accounts, {url}/_allauth/openapi.html")
        display.step(f"Health:       {url}/readyz")
        display.step(f"Data:         {service.folder}, removed at the end")
        display.say("\nCtrl-C ends everything.\n")
        _show_what_happens(relay, log, display)
    display.step("stopped")


def _show_what_happens(relay: ScriptedServer, log: LogFile, display: Display) -> None:
    shown = due = 0
    while True:
        for record in log.new_records():
            if ".sweep" not in record.message and "'skipped'" not in record.message:
                display.record(record)
        for received in relay.accepted[shown:due]:
            display.mail(received)
        shown = due
        with contextlib.suppress(TimeoutError):
            relay.wait_for(partial(_has_taken_more_than, shown), timeout=0.2)
            time.sleep(0.1)  # let the log lines of this mail come first
        due = len(relay.accepted)


def _has_taken_more_than(count: int, relay: ScriptedServer) -> bool:
    return len(relay.accepted) > count


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt

"""The demonstration's second part: the relay is away, mail waits, and the worker that hands it over is killed.

``send_messages()`` writes rows, ``outbox_drain --forever`` works them off. Mails that may have been taken when the
worker died are held (``in_doubt="hold"``): a person looks into the relay's log and decides, here by its ledger.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from demo import RELAY
from robust_email.testing import Script, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from demo.display import Display
    from demo.processes import Service

MAILS: Final = 300
KILL_AFTER: Final = 60
"""Mails that the relay has taken when the worker is killed."""
PATIENCE: Final = 25.0
"""Seconds after which what has not come counts as lost."""

_WRITE: Final = f"""
from django.core.mail import EmailMessage, get_connection
messages = [
    EmailMessage(f"Order {{number}}", "It is on its way.", None, [f"customer{{number}}@customer.example"])
    for number in range({MAILS})
]
for message in messages:
    message.outbox_options = {{"kind": "order", "in_doubt": "hold"}}
get_connection("robust_email.outbox.backend.OutboxEmailBackend").send_messages(messages)
"""
_ROWS: Final = "SELECT id, message_id, state FROM robust_email_outbox_outboxmessage WHERE kind = 'order'"
_AWAY: Final = "SELECT name FROM robust_email_outbox_outboxrelay"


class Outage:
    """Runs once; ``tell`` returns whether every mail arrived exactly once."""

    def __init__(self, service: Service, zone: Path, display: Display) -> None:
        self._show = display
        self._zone = zone
        self._relay = ScriptedServer(Script(host_name=RELAY))
        with self._relay:
            port = self._relay.port  # closed again: nobody is there
        self._port = port
        self._service = replace(service, environment={**service.environment, "EMAIL_PORT": str(port)})

    def tell(self) -> bool:
        """Live through the outage and the kill, and judge."""
        show, service = self._show, self._service
        show.title("An outage, and a worker killed with kill -9", f"{MAILS} mails, their rows, and one ledger.")
        show.chapter("The relay is away")
        show.trouble("nobody listens on the relay's port: connection refused")
        service.manage("shell", "-c", _WRITE)
        show.step(f"send_messages() wrote {MAILS} rows and returned; no network was asked")
        with service.drain("first") as worker:
            self._until(lambda: bool(self._ask(_AWAY)))
            show.step("one attempt found the relay away; its mails wait for it, and none has used up a retry")
            with ScriptedServer(Script(host_name=RELAY), port=self._port) as relay:
                show.chapter("The relay is back, and the worker is killed in the middle")
                show.trouble("the relay listens again")
                relay.wait_for(lambda it: len(it.accepted) >= KILL_AFTER, PATIENCE)
                worker.kill()
                worker.wait()
                show.trouble(f"kill -9, with {len(relay.accepted)} mails taken by the relay")
                return self._recover(relay)

    def _recover(self, relay: ScriptedServer) -> bool:
        show, service = self._show, self._service
        with service.drain("second"):
            show.chapter("Another worker goes on")
            self._until(lambda: not self._waiting())
            doubtful = {key: id_ for key, id_, state in self._ask(_ROWS) if state == "in-doubt"}
            show.step(
                f"all others are accepted; {len(doubtful)} were at their end of data when the worker died: they are in "
                "doubt, and held"
            )
            taken = {message.message_id for message in relay.accepted}
            for option, keys in (
                ("--accepted", [key for key, id_ in doubtful.items() if id_ in taken]),
                ("--resend", [key for key, id_ in doubtful.items() if id_ not in taken]),
            ):
                if keys:
                    service.manage("outbox_resolve", option, *keys)
                    show.step(
                        f"a look into the relay's log, then: manage.py outbox_resolve {option} ({len(keys)} mails)"
                    )
            self._until(lambda: not self._waiting())
        return self._judge(relay)

    def _judge(self, relay: ScriptedServer) -> bool:
        states = Counter(state for _, _, state in self._ask(_ROWS))
        copies = Counter(message.message_id for message in relay.accepted)
        good = states == {"accepted": MAILS} and len(copies) == MAILS and set(copies.values()) == {1}
        words = "Every mail arrived once: none lost, none doubled" if good else f"The rows say {dict(states)}"
        self._show.verdict(
            f"{words}.\nThe server's ledger has {len(copies)} mails, {copies.total()} copies.", good=good
        )
        return good

    def _ask(self, query: str) -> list[Any]:
        """Look into the service's database, which is faster than to start Django for it."""
        with closing(sqlite3.connect(self._service.folder / "database.sqlite3", timeout=10)) as database:
            return database.execute(query).fetchall()

    def _waiting(self) -> bool:
        return any(state in {"queued", "claimed", "data-started"} for _, _, state in self._ask(_ROWS))

    @staticmethod
    def _until(condition: Callable[[], bool]) -> None:
        """Wait for something in the service's database; what does not come is judged at the end."""
        deadline = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.2)

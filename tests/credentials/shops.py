"""Several processes of one shop, with one account, that submit until they are told to stop; and what became of it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.governor.crowd import begin, running, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer
    from tests.governor.crowd import Process

PROCESSES, THREADS = 4, 2
SESSIONS = PROCESSES * THREADS
"""As many as may be under way at one moment."""


@dataclass(frozen=True)
class Shop:
    """The processes, and the relay that they submit to."""

    processes: list[Process]
    relay: ScriptedServer

    def wait_for_more(self, mails: int) -> None:
        """Wait until so many more have been accepted."""
        before = len(self.relay.accepted)
        self.relay.wait_for(lambda it: len(it.accepted) >= before + mails, 30)

    def stop(self) -> dict[str, str]:
        """Let all stop, and return what each says of each of its mails, by Message-ID."""
        say(self.processes)
        results: dict[str, str] = {}
        for process in self.processes:
            output, _ = process.communicate(timeout=30)
            assert process.returncode == 0, output
            results |= json.loads(output)
        return results


@contextmanager
def shop(relay: ScriptedServer, **settings: Any) -> Iterator[Shop]:  # noqa: ANN401 - settings
    """Let the processes of a shop begin; they are killed that are still there at the end.

    Nothing is tried twice by the settings, so that no retry covers up what went wrong.
    """
    place = {"EMAIL_HOST": relay.host, "EMAIL_PORT": relay.port, "EMAIL_CONNECTION_RETRY_ATTEMPTS": 1}
    tasks = [
        {"name": f"shop{number}", "threads": THREADS, "settings": {**place, **settings}} for number in range(PROCESSES)
    ]
    with running(*(("tests.credentials.shop", task) for task in tasks)) as processes:
        begin(processes)
        yield Shop(processes, relay)


def each_accepted_once(results: dict[str, str], relay: ScriptedServer) -> bool:
    """Compare what the shop says with what the relay took."""
    assert {text for text in results.values() if text != "accepted"} == set()
    return sorted(results) == sorted(message.message_id for message in relay.accepted)


def refused_logins(relay: ScriptedServer) -> int:
    """Count the 535s of all sessions."""
    return sum(transcript.written.count(b"\r\n535 ") for transcript in relay.transcripts)

"""Several processes of one shop, with one account, that submit until they are told to stop; and what became of it."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.governor.crowd import ENVIRONMENT, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer

PROCESSES, THREADS = 4, 2
SESSIONS = PROCESSES * THREADS
"""As many as may be under way at one moment."""

Process = subprocess.Popen[str]


@dataclass(frozen=True)
class Shop:
    """The processes, and the relay that they submit to."""

    processes: list[Process]
    relay: ScriptedServer

    def say(self) -> None:
        """Give the word to all: to begin, then to stop."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def wait_for_more(self, mails: int) -> None:
        """Wait until so many more have been accepted."""
        before = len(self.relay.accepted)
        self.relay.wait_for(lambda it: len(it.accepted) >= before + mails, 30)

    def stop(self) -> dict[str, str]:
        """Let all stop, and return what each says of each of its mails, by Message-ID."""
        self.say()
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
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.credentials.shop", json.dumps(task)],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for task in tasks
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        running = Shop(processes, relay)
        running.say()
        yield running
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def each_accepted_once(results: dict[str, str], relay: ScriptedServer) -> bool:
    """Compare what the shop says with what the relay took."""
    assert {text for text in results.values() if text != "accepted"} == set()
    return sorted(results) == sorted(message.message_id for message in relay.accepted)


def refused_logins(relay: ScriptedServer) -> int:
    """Count the 535s of all sessions."""
    return sum(transcript.written.count(b"\r\n535 ") for transcript in relay.transcripts)

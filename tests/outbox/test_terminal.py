"""What a person sees of ``outbox_drain``: a bar on a terminal, which is a real one here, and on nothing else."""

from __future__ import annotations

import json
import os
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from robust_email.testing import At, Fault, Reply
from tests.outbox import databases
from tests.outbox.faults import DatabaseFault, database_fault
from tests.outbox.processes import environment, finish, worker
from tests.outbox.test_killed import enqueue, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)

WHOLE = "#" * 40
DRAIN = ("--until-empty", "--batch", "10")


class Terminal:
    """The far end of a pseudo-terminal: all that was written to it, and what that leaves on the screen."""

    def __init__(self) -> None:
        self._far, self.near = os.openpty()
        self._octets = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def close(self) -> None:
        """Wait for all that was written; whoever writes must have closed his end."""
        os.close(self.near)
        self._reader.join(30)
        os.close(self._far)

    @property
    def text(self) -> str:
        """All that was written."""
        return self._octets.decode()

    @property
    def screen(self) -> list[str]:
        """The lines as they stand at the end; the last one is where the next word would be written."""
        lines, column = [""], 0
        for character in self.text:
            if character == "\n":
                lines.append("")
                column = 0
            elif character == "\r":
                column = 0
            else:
                lines[-1] = f"{lines[-1][:column]}{character}{lines[-1][column + 1 :]}"
                column += 1
        return lines

    @property
    def bars(self) -> list[str]:
        """What stood where the bar is, one after the other."""
        return re.findall(r"\[[# ]{40}\] \d+ of \d+", self.text)

    def _read(self) -> None:
        try:
            while octets := os.read(self._far, 4_096):
                self._octets += octets
        except OSError:
            return  # nobody holds the near end any more


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Give a terminal, whose text is complete once the block is left."""
    found = Terminal()
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def env(outbox_url: str, relay: ScriptedServer) -> dict[str, str]:
    """Give the environment of a worker that has nothing to complain of, and mails to hand over."""
    call_command("migrate", "robust_email_suppression", database=databases.ToActive.alias, verbosity=0)
    enqueue(25)
    return environment(outbox_url, relay)


def test_a_bar_grows_and_ends_at_all_mails(outbox_url: str, relay: ScriptedServer, env: dict[str, str]) -> None:
    """It stands there from the start, in one line; below it the result, and the next word begins a line."""
    with terminal() as seen, worker(env, "never", *DRAIN, output=seen.near) as process:
        assert process.wait(60) == 0
    assert seen.bars == [f"[{WHOLE[: 40 * done // 25]:<40}] {done} of 25" for done in (0, 10, 20, 25)]
    assert seen.screen == [f"[{WHOLE}] 25 of 25", "25 mails taken: 25 accepted.", ""]
    assert judge(relay, 25) == (0, 0)


def test_nothing_due_is_no_bar(outbox_url: str, relay: ScriptedServer, env: dict[str, str]) -> None:
    """With nothing to do there is a line and no bar."""
    call_command("outbox_drain", *DRAIN)
    with terminal() as seen, worker(env, "never", *DRAIN, output=seen.near) as process:
        assert process.wait(60) == 0
    assert seen.screen == ["0 mails taken: nothing was due.", ""]


def test_json_is_no_bar(outbox_url: str, relay: ScriptedServer, env: dict[str, str]) -> None:
    """With ``--json`` a terminal shows objects, a line each, and nothing else."""
    with terminal() as seen, worker(env, "never", *DRAIN, "--json", output=seen.near) as process:
        assert process.wait(60) == 0
    assert [json.loads(line)["step"] for line in seen.text.splitlines()] == ["batch", "batch", "batch", "end"]


def test_a_pipe_is_no_terminal(outbox_url: str, relay: ScriptedServer, env: dict[str, str]) -> None:
    """Cron's mail and a log file hold the result and no bar."""
    with worker(env, "never", *DRAIN) as process:
        assert finish(process) == "25 mails taken: 25 accepted.\n"


def test_a_warning_stands_in_a_line_of_its_own(outbox_url: str, relay: ScriptedServer, env: dict[str, str]) -> None:
    """What the log says meanwhile, on the same terminal, is not written behind the bar, which goes on below it."""
    relay.add_fault(Fault(At.RCPT, Reply("451 4.7.1 later"), subject="user13@", times=1))
    with terminal() as seen, worker(env, "never", *DRAIN, output=seen.near) as process:
        assert process.wait(60) == 0
    [warning, bar, result, end] = seen.screen
    assert re.fullmatch(r"Message <\S+> not accepted by .*451 4\.7\.1 later", warning)
    assert bar == f"[{WHOLE}] 26 of 26"
    assert (result, end) == ("26 mails taken: 25 accepted, 1 queued.", "")


@pytest.mark.parametrize(("statement", "first"), [('SET "state"', f"[{'':40}] 0 of 25"), ("COUNT(", "")])
def test_an_error_begins_a_line(
    outbox_url: str, relay: ScriptedServer, env: dict[str, str], statement: str, first: str
) -> None:
    """A database that goes away is told in words, before there is a bar or below it."""
    with (
        terminal() as seen,
        open(seen.near, "w", encoding="utf-8", closefd=False) as screen,
        database_fault(DatabaseFault(part=statement)) as fault,
        pytest.raises(CommandError, match="database is away"),
    ):
        call_command("outbox_drain", *DRAIN, stdout=screen)
    assert fault.struck == 1
    assert (seen.screen[0], seen.screen[-1]) == (first, "")

"""Many workers at once, each a process of its own; all begin on a word and are gone when the block is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.governor.provider import Provider

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}

Process = subprocess.Popen[str]


@dataclass(frozen=True)
class Settled:
    """What a worker said of a mail. Times are seconds of the machine's monotonic clock."""

    name: str
    lane: str
    asked: float
    settled: float
    disposition: str
    tries: int


def program_of(task: dict[str, Any]) -> str:
    """Return the module to run: where ``ahead`` is said, one whose clocks are so many seconds off."""
    return "tests.governor.apart" if "ahead" in task else "tests.governor.worker"


@contextmanager
def workers(provider: Provider, store: str, *tasks: dict[str, Any]) -> Iterator[list[Process]]:
    """Run a worker for each task on the store at this URL."""
    place = {"host": provider.host, "port": provider.port, "store": store}
    with running(*((program_of(task), {**place, **task}) for task in tasks)) as processes:
        yield processes


@contextmanager
def running(*programs: tuple[str, dict[str, Any]]) -> Iterator[list[Process]]:
    """Start each module with its task; those are killed that are still there at the end."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(task)],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for module, task in programs
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def begin(processes: list[Process]) -> None:
    """Wait until all have loaded what they need, and give the word."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    say(processes)


def say(processes: list[Process]) -> None:
    """Give the word to all."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def results(processes: list[Process], timeout: float = 60.0) -> list[Settled]:
    """Wait for the workers to end; return what they said of every mail."""
    settled = []
    for process in processes:
        output, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0, output
        settled += [Settled(*json.loads(line)) for line in output.splitlines()]
    return settled

"""The service's processes: started with the demo's settings, watched, and stopped together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parent.parent
STOP_WITHIN: Final = 15.0
"""Seconds that a process has to finish what it is doing."""


class ProcessFailed(Exception):
    """A process of the service ended or did not get ready; the text has the end of its output."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service runs and what it is told: a folder of its own and environment variables."""

    folder: Path
    environment: Mapping[str, str]

    def manage(self, *arguments: str) -> str:
        """Run a ``manage.py`` command to its end; return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self._environment(), capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        if done.returncode:
            raise ProcessFailed(f"manage.py {arguments[0]} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    @contextmanager
    def web(self, port: int) -> Iterator[str]:
        """Run the web server; yield its URL. Port 0 takes a free one."""
        command = ["manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
        with self._running("web", command, ready=r"Starting (?:WSGI )?development server at (http://\S+)/") as url:
            yield url

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Run a Celery worker with the beat that starts the sweep."""
        command = ["-m", "celery", "-A", "e_commerce_api", "worker", "-B", "-l", "INFO", "-c", "2", "-n", "celery-1@%h"]
        with self._running("worker", command, ready=r"celery-1@\S+ ready"):
            yield

    @contextmanager
    def drain(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the outbox's worker that needs no broker; its output goes to a file of that name."""
        with self._started(name, ["manage.py", "outbox_drain", "--forever", "--json"]) as (process, _):
            yield process

    @contextmanager
    def _running(self, name: str, command: list[str], *, ready: str) -> Iterator[str]:
        with self._started(name, command) as (process, output):
            yield _wait_until_ready(process, output, ready)

    @contextmanager
    def _started(self, name: str, command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        output = self.folder / f"{name}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, *command],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then stops its processes in order
            )
        try:
            yield process, output
        finally:
            _stop(process)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"}


def _wait_until_ready(process: subprocess.Popen[bytes], output: Path, ready: str, within: float = 30.0) -> str:
    """Return what the pattern found in the output."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        text = output.read_text(errors="replace")
        if found := re.search(ready, text):
            return found[found.lastindex or 0]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise ProcessFailed(f"{output.stem} did not get ready:\n{output.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to finish; end it together with its children if it does not."""
    process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the group that start_new_session made for it
        process.wait()

"""A PostgreSQL cluster of one's own: to be restarted, filled and thrown away without anybody else noticing."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS: Final = "/usr/lib/postgresql"
"""Where Debian keeps what is not on anybody's PATH, a folder for each version."""
ACCOUNT: Final = "postgres"
"""PostgreSQL refuses to run as root; there, this account runs it."""


class Cluster:
    """A server on a free port of the loopback, with trust for everybody who can reach it."""

    def __init__(self, programs: Path, folder: Path, *options: str) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._sockets = folder
        self._log = folder / "server.log"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._options = options
        self._run("initdb", "--auth=trust", f"--username={ACCOUNT}", "--encoding=UTF8", "--locale=C")
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{option}\n" for option in options)

    @property
    def url(self) -> str:
        """Of the database that is there from the beginning."""
        return f"postgresql://{ACCOUNT}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = f"-p {self.port} -k {self._sockets} -h 127.0.0.1"
        self._run("pg_ctl", "--wait", "--silent", f"--log={self._log}", f"--options={options}", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop: ``immediate`` as by a power cut, ``fast`` with every connection ended."""
        self._run("pg_ctl", "--wait", "--silent", f"--mode={mode}", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), f"--pgdata={self._data}", *arguments]
        account = ACCOUNT if os.geteuid() == 0 else None
        done = subprocess.run(
            command,
            user=account,
            cwd=self._sockets,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")


def programs() -> Path | None:
    """Return the newest PostgreSQL of this machine; ``None`` where there is none that may be started."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = Path(PROGRAMS).glob("*/bin/initdb")
    return max((found.parent for found in folders), key=lambda bin_: float(bin_.parent.name), default=None)


@contextlib.contextmanager
def cluster(*options: str) -> Iterator[Cluster | None]:
    """Run one, with lines for its ``postgresql.conf``; stop and remove it afterwards. ``None`` without PostgreSQL."""
    found = programs()
    if found is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="robust-email-postgres-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, ACCOUNT)
        made = Cluster(found, folder, *options)
        made.start()
        try:
            yield made
        finally:
            with contextlib.suppress(RuntimeError):  # it may be stopped already
                made.stop()

"""Servers that exclude Postfix as packages: unpacked by ``fetch.sh``, run as their own users in a mount namespace.

The namespace lays a copy of ``/etc/passwd`` and ``/etc/group`` with the server's user over the real ones, so the
machine is left as it was. Both the namespace and the servers need root.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services import require_program, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[2] / ".cache" / "servers" / "root"
"""Where ``fetch.sh`` unpacks."""

FIRST_ID = 64901
"""User and group ids from here on: out of the range that Debian gives to packages and to people."""

_OVERLAY = """\
folder=$1; shift
mount --bind "$folder/passwd" /etc/passwd && mount --bind "$folder/group" /etc/group || exit 70
"""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A prefix for commands, and the environment in which unpacked programs find their libraries."""

    prefix: Sequence[str]
    environment: dict[str, str]

    @contextlib.contextmanager
    def running(self, command: Sequence[str], output: Path) -> Iterator[Callable[[], bool]]:
        """Run a daemon in the foreground; gives whether it is alive, and ends it with all that it started."""
        with output.open("w") as stream:
            process = subprocess.Popen(
                [*self.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=self.environment,
                start_new_session=True,
            )
        try:
            yield lambda: process.poll() is None
        finally:
            with contextlib.suppress(ProcessLookupError):
                # The whole group: a child that serves a session would write its log into a folder that is gone.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def unpacked_program(service: str, path: str) -> Path:
    """Return an unpacked program; without it, or without root, the service is unavailable."""
    program = ROOT / path
    if not program.exists():
        unavailable(service, "run tests/servers/fetch.sh")
    if os.geteuid() != 0:
        unavailable(service, "it starts as root only")
    return program


def namespace(service: str, folder: Path, users: Sequence[str], preparation: str = "") -> Namespace:
    """Write users and groups into the folder and return how to run a command among them.

    ``preparation`` is shell text for further mounts, with ``$folder`` set.
    """
    require_program(service, "unshare")
    numbered = list(enumerate(users, start=FIRST_ID))
    passwd = "".join(f"{user}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n" for number, user in numbered)
    group = "".join(f"{user}:x:{number}:\n" for number, user in numbered)
    (folder / "passwd").write_text(Path("/etc/passwd").read_text("utf-8") + passwd, "utf-8")
    (folder / "group").write_text(Path("/etc/group").read_text("utf-8") + group, "utf-8")
    script = f'{_OVERLAY}{preparation}\nexec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder)]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False, timeout=30).returncode:
        unavailable(service, "mount namespaces are not allowed here")
    libraries = ":".join(str(path) for path in sorted(ROOT.glob("usr/lib/*-linux-gnu*")))
    return Namespace(prefix, {**os.environ, "LD_LIBRARY_PATH": libraries})

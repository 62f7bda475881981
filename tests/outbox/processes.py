"""Workers as processes of their own, to be killed; only those that a test started itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer

ROOT = Path(__file__).parents[2]


def environment(database: str, relay: ScriptedServer, **settings: Any) -> dict[str, str]:  # noqa: ANN401 - settings
    """Return the environment of a worker."""
    given = {
        "database": database,
        "settings": {"EMAIL_HOST": relay.host, "EMAIL_PORT": relay.port, **settings},
    }
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.outbox.worker_settings",
        "OUTBOX_TEST_WORKER": json.dumps(given),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
    }


@contextmanager
def worker(
    env: dict[str, str],
    point: str,
    *arguments: str,
    prefix: tuple[str, ...] = (),
    output: int | IO[str] = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    """Run a worker; it is killed when the block is left. One that says much needs a file for ``output``."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "tests.outbox.worker", point, *arguments],
        cwd=ROOT,
        env=env,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def finish(process: subprocess.Popen[str], timeout: float = 60.0) -> str:
    """Wait for a worker to come to its end by itself; return what it said."""
    output, _ = process.communicate(timeout=timeout)
    return output

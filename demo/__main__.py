"""``python -m demo``: tell the story and end; ``python -m demo --stay``: serve until Ctrl-C.

Exit code 0: every mail arrived exactly once. 1: one was lost or doubled, or the service did not start.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from demo import RELAY
from demo.display import Display
from demo.outage import Outage
from demo.processes import ProcessFailed, Service
from demo.records import LogFile
from demo.stay import stay
from demo.story import RELAY_SCRIPT, Story
from robust_email.testing import Script, ScriptedServer

RETRY_SCALE: Final = 0.05
"""The tasks' schedule of 60, 120, 240, 300, 300 s becomes 3, 6, 12, 15, 15 s."""

FAULTS_LAST: Final = 20.0
"""Seconds without DNS, with ``--stay --faults``."""


def main() -> int:
    """Run what the command line asks for, in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="start the service, without faults, and stay")
    parser.add_argument("--faults", action="store_true", help="with --stay: no DNS at first, and a relay that hangs up")
    parser.add_argument("--web-port", type=int, default=0, help="with --stay; 0 (the default) takes a free one")
    parser.add_argument("--smtp-port", type=int, default=0, help="with --stay; 0 (the default) takes a free one")
    options = parser.parse_args()
    display = Display()
    script = RELAY_SCRIPT if options.faults or not options.stay else Script(host_name=RELAY)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="robust-email-demo-") as folder,
            ScriptedServer(script, port=options.smtp_port) as relay,
        ):
            return _run(options, Path(folder), relay, display)
    except ProcessFailed as error:
        display.verdict(str(error), good=False)
        return 1


def _run(options: argparse.Namespace, folder: Path, relay: ScriptedServer, display: Display) -> int:
    zone, log = folder / "zone", LogFile(folder / "log.jsonl")
    environment = _environment(
        folder, zone, relay.port, scale=1 if options.stay and not options.faults else RETRY_SCALE
    )
    # DEBUG shows developers the preview of all mails; the story runs as in production.
    service = Service(folder, {**environment, "DEBUG": str(options.stay)})
    try:
        if options.stay:
            display.title("The shop's account mails", "SQLite, a Celery worker, and a mail catcher, until Ctrl-C.")
            service.manage("migrate", "--verbosity", "0")
            if options.faults:
                threading.Timer(FAULTS_LAST, zone.write_text, [relay.host]).start()
            else:
                zone.write_text(relay.host)
            stay(service, relay, log, display, web_port=options.web_port)
            return 0
        display.title(
            "One mail, a dead DNS and a relay that hangs up",
            "SQLite, Celery with a file-system broker, and a scripted SMTP server that keeps its own ledger. The retry "
            f"schedule of the tasks is shortened by EMAIL_TASK_RETRY_SCALE={RETRY_SCALE}: "
            "60, 120, 240, 300, 300 s become 3, 6, 12, 15, 15 s.",
        )
        service.manage("migrate", "--verbosity", "0")
        told = Story(service, relay, zone, log, display).tell()
        return 0 if told and Outage(service, zone, display).tell() else 1
    finally:
        log.close()


def _environment(folder: Path, zone: Path, port: int, *, scale: float) -> dict[str, str]:
    """Return the service's whole configuration; no .env of the developer's plays a part."""
    return {
        "DJANGO_SETTINGS_MODULE": "demo.settings",
        "ENV_FILE": str(folder / "no.env"),
        "DATA_FOLDER": str(folder),
        "EMAIL_HOST": RELAY,
        "EMAIL_PORT": str(port),
        "EMAIL_USE_TLS": "False",
        "EMAIL_USE_SSL": "False",
        "EMAIL_HOST_USER": "",
        "EMAIL_CONNECTION_RETRY_ATTEMPTS": "3",
        "EMAIL_CONNECTION_RETRY_DELAY": "0.3",
        "EMAIL_TASK_RETRY_SCALE": str(scale),
        "DEFAULT_FROM_EMAIL": "Ada's Shop <no-reply@shop.example>",
        "POSTGRES_HOST": "",
        "REDIS_HOST": "",
        "LOG_LEVEL": "INFO",
        "DEMO_LOG": str(folder / "log.jsonl"),
        "DEMO_ZONE": str(zone),
    }


if __name__ == "__main__":
    sys.exit(main())

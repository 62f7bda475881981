"""The service in processes of its own: its whole configuration, in a folder, with a database there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo import RELAY
from demo.processes import Service

if TYPE_CHECKING:
    from pathlib import Path

    from robust_email.testing import ScriptedServer

SECRET_KEY = "CANARY-secret-key-of-the-service-under-test"


def service_in(folder: Path, **more: str) -> Service:
    """Give the service with an empty database: SQLite and no Redis, unless ``more`` says where one is.

    No ``.env`` of the developer's plays a part.
    """
    service = Service(
        folder,
        {
            "DJANGO_SETTINGS_MODULE": "e_commerce_api.settings",
            "ENV_FILE": str(folder / "no.env"),
            "DATA_FOLDER": str(folder),
            "SECRET_KEY": SECRET_KEY,
            "POSTGRES_HOST": "",
            "REDIS_HOST": "",
            **more,
        },
    )
    service.manage("migrate", "--verbosity", "0")
    return service


def demo_in(folder: Path, relay: ScriptedServer, **more: str) -> Service:
    """Give it with the demo's settings and this relay, whose name is known once ``folder / "zone"`` is written."""
    given = {
        "DJANGO_SETTINGS_MODULE": "demo.settings",
        "EMAIL_HOST": RELAY,
        "EMAIL_PORT": str(relay.port),
        "EMAIL_CONNECTION_RETRY_DELAY": "0",
        "EMAIL_TASK_RETRY_SCALE": "0.02",
        "DEMO_LOG": str(folder / "log.jsonl"),
        "DEMO_ZONE": str(folder / "zone"),
    }
    return service_in(folder, **given | more)

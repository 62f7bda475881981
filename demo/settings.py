"""The service's settings, plus what the demonstration needs to see and to break. Nothing of this is in the service.

* every record of the interesting loggers goes, as a line of JSON, to the file that the demo reads;
* the relay's name is looked up in the demo's own DNS (``demo/dns.py``), which can be down.
"""

from __future__ import annotations

import os

from e_commerce_api.settings import *  # noqa: F403 - a settings module extends another one
from e_commerce_api.settings import LOGGING

EMAIL_BACKEND = EMAIL_OUTBOX_BACKEND = "demo.dns.BackendWithDemoDns"

EMAIL_OUTBOX_LEASE, EMAIL_OUTBOX_HEARTBEAT = 3.0, 1.0  # seconds, instead of two minutes and half of one

CELERY_BEAT_MAX_LOOP_INTERVAL = 0.2  # seconds; how soon the embedded beat notices that it is to stop

LOGGING["formatters"]["json"] = {"()": "demo.records.JsonFormatter"}
LOGGING["handlers"]["demo"] = {
    "class": "logging.FileHandler",
    "filename": os.environ["DEMO_LOG"],
    "formatter": "json",
    "encoding": "utf-8",
}
for name in ("authentication", "robust_email", "celery.app.trace", "celery.worker.strategy"):
    LOGGING["loggers"].setdefault(name, {"level": "INFO"})["handlers"] = ["demo"]

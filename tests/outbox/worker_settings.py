"""Django settings of a worker in a process of its own; what differs comes from the environment, as JSON."""

from __future__ import annotations

import json
import os

from tests.outbox.databases import configuration
from tests.settings import *  # noqa: F403 - the project of the tests, in another process

_GIVEN = json.loads(os.environ["OUTBOX_TEST_WORKER"])

DATABASES = {"default": configuration(_GIVEN["database"])}
LOGGING_CONFIG = None
EMAIL_BACKEND = "robust_email.outbox.backend.OutboxEmailBackend"
EMAIL_CONNECTION_RETRY_ATTEMPTS = 1
EMAIL_TIMEOUT = 20
EMAIL_OUTBOX_RETRY_SCHEDULE = [0, 0, 0, 0, 0]
EMAIL_OUTBOX_LEASE = 1.5
EMAIL_OUTBOX_HEARTBEAT = 0.4
EMAIL_OUTBOX_SWEEP = 0.3
EMAIL_OUTBOX_POLL = 0.05
EMAIL_OUTBOX_MAX_LOST_LEASES = 50
globals().update(_GIVEN["settings"])

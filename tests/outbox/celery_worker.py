"""The Celery application of the outbox's tests: broker, queue and schedule from the environment.

``celery -A tests.outbox.celery_worker worker -B`` runs it in a process of its own.
"""

from __future__ import annotations

import json
import os

import django
from celery import Celery

django.setup()

GIVEN = json.loads(os.environ["OUTBOX_TEST_CELERY"])

app = Celery("outbox-tests", broker=GIVEN["broker"], include=["robust_email.outbox.tasks"])
app.conf.task_default_queue = GIVEN["queue"]
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1
app.conf.beat_schedule = {"sweep": {"task": "robust_email.outbox.sweep", "schedule": 0.5, "options": {"expires": 5.0}}}
app.conf.beat_schedule_filename = GIVEN["beat"]

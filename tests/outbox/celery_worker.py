"""The Celery application of the outbox's tests: broker, queue and schedule from the environment.

``celery -A tests.outbox.celery_worker worker -B`` runs it in a process of its own, ``... beat`` the schedule alone.
"""

from __future__ import annotations

import json
import os

import django
from celery import Celery

django.setup()

app = Celery("outbox-tests", include=["robust_email.outbox.tasks"])
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1
app.conf.worker_lost_wait = 0.5  # seconds until the task of a child that died is given back, in place of ten
app.conf.beat_schedule = {"sweep": {"task": "robust_email.outbox.sweep", "schedule": 0.5, "options": {"expires": 5.0}}}
app.conf.update(json.loads(os.environ["OUTBOX_TEST_CELERY"]))

"""The Django project of one outbox, and its Celery application: made of the environment variable ``OUTBOX_BENCH``.

All have the same database server, the same broker, the same relay and the same settings of their own: as delivered,
but for what a project has to say.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

import django
from celery import Celery
from django.conf import settings

GIVEN: dict[str, Any] = json.loads(os.environ["OUTBOX_BENCH"])
THREADS = 5
"""Of a drain: django-post_office's own number."""

SMTP = "django.core.mail.backends.smtp.EmailBackend"
OWN: dict[str, dict[str, Any]] = {
    "ours": {
        "INSTALLED_APPS": ["robust_email", "robust_email.outbox"],
        "EMAIL_BACKEND": "robust_email.outbox.backend.OutboxEmailBackend",
        "EMAIL_OUTBOX_WAKEUP": GIVEN.get("wakeup", "none"),
        "EMAIL_OUTBOX_WINDOW": GIVEN.get("window", 8),
        "EMAIL_OUTBOX_RETRY_SCHEDULE": GIVEN.get("schedule", [60, 120, 240, 300, 300]),
    },
    "post_office": {
        "INSTALLED_APPS": ["post_office"],
        "EMAIL_BACKEND": "post_office.EmailBackend",
        "POST_OFFICE": {
            "BACKENDS": {"default": SMTP},
            "THREADS_PER_PROCESS": THREADS,
            "CELERY_ENABLED": GIVEN.get("wakeup") == "celery",
        },
    },
    "mailer": {
        "INSTALLED_APPS": ["mailer"],
        "EMAIL_BACKEND": "mailer.backend.DbBackend",
        "MAILER_EMAIL_BACKEND": SMTP,
        "MAILER_LOCK_PATH": os.path.join(GIVEN["folder"], "mailer.lock"),  # noqa: PTH118 - it wants a text
    },
    "celery_email": {
        "INSTALLED_APPS": ["djcelery_email"],
        "EMAIL_BACKEND": "djcelery_email.backends.CeleryEmailBackend",
    },
}


def configure() -> None:
    """Set up Django once."""
    if settings.configured:
        return
    place = urlsplit(GIVEN["database"])
    settings.configure(
        USE_TZ=True,
        SECRET_KEY="benchmark",  # noqa: S106 - nothing is signed
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DEFAULT_FROM_EMAIL="shop@example.org",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=GIVEN["port"],
        LOGGING_CONFIG=None,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": place.hostname,
                "PORT": place.port,
                "NAME": place.path.lstrip("/"),
                "USER": place.username,
                "CONN_MAX_AGE": None,
            }
        },
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        **OWN[GIVEN["outbox"]],
    )
    django.setup()


app = Celery("outbox-bench", broker=GIVEN.get("broker"), broker_connection_retry_on_startup=True)
app.conf.task_default_queue = GIVEN["database"].rsplit("/", 1)[-1]
app.set_default()
configure()
app.autodiscover_tasks(settings.INSTALLED_APPS, force=True)

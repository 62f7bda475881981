"""Django's settings. Nothing here is a secret or differs between machines: that comes from ``env.py``."""

from __future__ import annotations

from typing import Any

import django

from e_commerce_api.env import Environment

ENV = Environment()

DEBUG = ENV.debug
SECRET_KEY = ENV.signing_key()
ALLOWED_HOSTS = list(ENV.allowed_hosts)
DEFAULT_EXCEPTION_REPORTER_FILTER = "e_commerce_api.redaction.RedactingReporterFilter"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "robust_email",
    "authentication.core",
    "authentication.verification",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
ROOT_URLCONF = "e_commerce_api.urls"
WSGI_APPLICATION = "e_commerce_api.wsgi.application"
ASGI_APPLICATION = "e_commerce_api.asgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
STATIC_URL = "static/"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---------------------------------------------------------------------------------------------- database

if ENV.postgres_host:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": ENV.postgres_host,
            "PORT": ENV.postgres_port,
            "NAME": ENV.postgres_db,
            "USER": ENV.postgres_user,
            "PASSWORD": ENV.postgres_password.get_secret_value(),
            "CONN_HEALTH_CHECKS": True,
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ENV.data_folder / "database.sqlite3",
            # The web process and the worker write to one file: take the lock at BEGIN and wait for it.
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"},
        }
    }

# ---------------------------------------------------------------------------------------------- accounts

AUTH_USER_MODEL = "authentication.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["e_commerce_api.parsers.ShallowJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}

# ------------------------------------------------------------------------------------------------ e-mail

DEFAULT_FROM_EMAIL = ENV.default_from_email
EMAIL_TASK_RETRY_SCALE = ENV.email_task_retry_scale

if django.VERSION < (6, 1):
    EMAIL_BACKEND = "authentication.core.email_backend.RobustSMTPEmailBackend"
    EMAIL_HOST = ENV.email_host
    EMAIL_PORT = ENV.email_port
    EMAIL_USE_TLS = ENV.email_use_tls
    EMAIL_USE_SSL = ENV.email_use_ssl
    EMAIL_HOST_USER = ENV.email_host_user
    EMAIL_HOST_PASSWORD = ENV.email_host_password.get_secret_value()
    EMAIL_SSL_CAFILE = ENV.email_ssl_cafile
    EMAIL_TIMEOUT = ENV.email_timeout
    EMAIL_CONNECTION_RETRY_ATTEMPTS = ENV.email_connection_retry_attempts
    EMAIL_CONNECTION_RETRY_DELAY = ENV.email_connection_retry_delay
    EMAIL_POOL_SIZE = ENV.email_pool_size
    EMAIL_POOL_TIMEOUT = ENV.email_pool_timeout
else:
    # The same values in the form that Django 6.1 introduced and that remains when EMAIL_* are gone.
    MAILERS = {
        "default": {
            "BACKEND": "authentication.core.email_backend.RobustSMTPEmailBackend",
            "OPTIONS": {
                "host": ENV.email_host,
                "port": ENV.email_port,
                "use_tls": ENV.email_use_tls,
                "use_ssl": ENV.email_use_ssl,
                "username": ENV.email_host_user,
                "password": ENV.email_host_password.get_secret_value(),
                "ssl_cafile": ENV.email_ssl_cafile,
                "timeout": ENV.email_timeout,
                "connection_retry_attempts": ENV.email_connection_retry_attempts,
                "connection_retry_delay": ENV.email_connection_retry_delay,
                "pool_size": ENV.email_pool_size,
                "pool_timeout": ENV.email_pool_timeout,
            },
        }
    }

# ------------------------------------------------------------------------------------------------ Celery

CELERY_BROKER_URL = ENV.broker_url
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Cancelled at the wrong moment, an attempt ends in doubt; redelivered meanwhile, it finds its claim taken.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BEAT_SCHEDULE_FILENAME = str(ENV.data_folder / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "hand over what was left behind": {
        "task": "authentication.verification.sweep",
        "schedule": 60 * min(1, EMAIL_TASK_RETRY_SCALE) or 1,
    },
}
if ENV.redis_host is None:
    QUEUE_FOLDER = ENV.data_folder / "queue"
    for folder in (QUEUE_FOLDER, QUEUE_FOLDER / "exchanges"):
        folder.mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(QUEUE_FOLDER),
        "data_folder_out": str(QUEUE_FOLDER),
        "control_folder": str(QUEUE_FOLDER / "exchanges"),
        "polling_interval": 0.2,
    }
else:
    # A registration must not wait for a broker that is down: by default kombu tries for 6 seconds before it says so.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"max_retries": 0, "socket_connect_timeout": 1, "socket_timeout": 3}

# ----------------------------------------------------------------------------------------------- logging

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    # Celery's worker replaces the root's handler by its own; the levels below stay.
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {name: {"level": ENV.log_level} for name in ("authentication", "robust_email")},
}

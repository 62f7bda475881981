"""Django's settings. Nothing here is a secret or differs between machines: that comes from ``env.py``.

Those about accounts close holes that were measured; ``authentication/verification/checks.py`` refuses to go without.
"""

from __future__ import annotations

from typing import Any

import django

from e_commerce_api.env import BASE_DIR, Environment

ENV = Environment()

DEBUG = ENV.debug
SECRET_KEY = ENV.signing_key()
ALLOWED_HOSTS = list(ENV.allowed_hosts)
DEFAULT_EXCEPTION_REPORTER_FILTER = "e_commerce_api.redaction.RedactingReporterFilter"

INSTALLED_APPS = [
    "authentication.core",
    "authentication.verification",  # before allauth, whose templates it replaces
    "e_commerce_api.orders",
    "e_commerce_api.shopfront",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.headless",
    "allauth.usersessions",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "robust_email",
    "robust_email.outbox",
    "robust_email.suppression",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "e_commerce_api.security.SecurityHeaders",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "authentication.verification.guard.OneAtATime",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "authentication.verification.guard.EvenEffort",
]
ROOT_URLCONF = "e_commerce_api.urls"
WSGI_APPLICATION = "e_commerce_api.wsgi.application"
ASGI_APPLICATION = "e_commerce_api.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
            ]
        },
    }
]
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # the files come from the packages themselves: nothing has to be collected

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("ar", "العربية")]
LANGUAGE_COOKIE_NAME = "language"  # set by the account page
LOCALE_PATHS = [BASE_DIR / "e_commerce_api" / "locale"]
USE_I18N = True
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
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            "ATOMIC_REQUESTS": True,
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ENV.data_folder / "database.sqlite3",
            "ATOMIC_REQUESTS": True,
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
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

ACCOUNT_ADAPTER = "authentication.verification.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
# The whole retry schedule (17 minutes, 21 with all jitter) and a slow reader fit into it.
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_TIMEOUT = ACCOUNT_LOGIN_TIMEOUT = 30 * 60
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_MAX_ATTEMPTS = 3
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = 3
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
# Who reads this one owns the account: ten minutes (ASVS 6.5.5), and a late retry comes too late on purpose.
ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT = 10 * 60
ACCOUNT_PASSWORD_RESET_BY_CODE_MAX_ATTEMPTS = 3
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 5 * 60
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False  # other sessions end, the one that changed it stays
ACCOUNT_RATE_LIMITS = {
    "signup": "20/m/ip",
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",
    "confirm_email": "1/m/key,5/h/key,10/d/key",
    "reset_password": "20/m/ip,1/m/key,5/h/key,10/d/key",
    "reset_password_from_key": "20/m/ip",
    "change_password": "5/m/user",
    "manage_email": "10/m/user",
    "reauthenticate": "10/m/user",
}
HEADLESS_ONLY = True
HEADLESS_CLIENTS = ("app", "browser")
HEADLESS_SERVE_SPECIFICATION = True
HEADLESS_FRONTEND_URLS = {
    "account_signup": f"{ENV.public_url}/",
    "account_reset_password": f"{ENV.public_url}/#reset",
    # With codes nothing leads to these two, but allauth makes an error of what is missing.
    "account_confirm_email": f"{ENV.public_url}/",
    "account_reset_password_from_key": f"{ENV.public_url}/#reset",
}
ALLAUTH_TRUSTED_PROXY_COUNT = ENV.trusted_proxy_count

SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_NAME = "session"
# Whoever runs out of tries must not wait for a cache that is empty: each process and machine counts in the same one.
CACHES: dict[str, dict[str, Any]] = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache"}}
if ENV.redis_host:
    CACHES["default"] = {
        "BACKEND": "e_commerce_api.cache.SharedCache",
        "LOCATION": ENV.redis_url(ENV.redis_db + 1),
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
else:
    CACHES["default"]["LOCATION"] = ENV.data_folder / "cache"

# -------------------------------------------------------------------------------------------------- HTTP

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = ENV.https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENV.https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ENV.https
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_REFERRER_POLICY = "no-referrer"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.trusted_proxy_count else None
X_FRAME_OPTIONS = "DENY"
CSRF_TRUSTED_ORIGINS = [ENV.public_url]
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024

# --------------------------------------------------------------------------------------------------- API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "e_commerce_api.authentication.SessionToken",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["e_commerce_api.parsers.ShallowJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_standardized_errors.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 50,
    "NUM_PROXIES": ENV.trusted_proxy_count,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "E-commerce API",
    "DESCRIPTION": "Orders, and what became of our mails to you. Accounts are described at /_allauth/openapi.html.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "POSTPROCESSING_HOOKS": [
        "e_commerce_api.openapi.number_list_places",
        "drf_standardized_errors.openapi_hooks.postprocess_schema_enums",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ValidationErrorEnum": "drf_standardized_errors.openapi_serializers.ValidationErrorEnum.choices",
        "ClientErrorEnum": "drf_standardized_errors.openapi_serializers.ClientErrorEnum.choices",
        "ServerErrorEnum": "drf_standardized_errors.openapi_serializers.ServerErrorEnum.choices",
        "ErrorCode401Enum": "drf_standardized_errors.openapi_serializers.ErrorCode401Enum.choices",
        "ErrorCode403Enum": "drf_standardized_errors.openapi_serializers.ErrorCode403Enum.choices",
        "ErrorCode404Enum": "drf_standardized_errors.openapi_serializers.ErrorCode404Enum.choices",
        "ErrorCode405Enum": "drf_standardized_errors.openapi_serializers.ErrorCode405Enum.choices",
        "ErrorCode406Enum": "drf_standardized_errors.openapi_serializers.ErrorCode406Enum.choices",
        "ErrorCode415Enum": "drf_standardized_errors.openapi_serializers.ErrorCode415Enum.choices",
        "ErrorCode429Enum": "drf_standardized_errors.openapi_serializers.ErrorCode429Enum.choices",
        "ErrorCode500Enum": "drf_standardized_errors.openapi_serializers.ErrorCode500Enum.choices",
    },
}

# ------------------------------------------------------------------------------------------------ e-mail

DEFAULT_FROM_EMAIL = ENV.default_from_email

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
    # Through this one the outbox hands over: whoever changes EMAIL_BACKEND changes it for all mail.
    EMAIL_OUTBOX_BACKEND = EMAIL_BACKEND
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

# The outbox: a mail is a row, and these are the long retries of the tasks that hand it over.
EMAIL_OUTBOX_WAKEUP = "authentication.verification.wakeup.AccountsWakeUp"
EMAIL_OUTBOX_RETRY_SCHEDULE = [ENV.email_task_retry_scale * seconds for seconds in (60, 120, 240, 300, 300)]
EMAIL_OUTBOX_RETRY_JITTER = 0.25
EMAIL_OUTBOX_SWEEP = 30 * min(1, ENV.email_task_retry_scale) or 1

# Suppression. What was refused as 5.1.1 may be there half a year later, and a click on "spam" counts for ever; so what
# nobody waits for is kept back, and codes are not: a person asks for one, and without it he is locked out with no way
# to say so. They are ten a day to one address at most, and a code that is entered ends what a server's refusal began.
# Nor are notices that a password or an address was changed: by them an owner learns of a theft. Kept back are order
# confirmations, which stand in the account too, and "you have an account already", which strangers can cause.
EMAIL_SUPPRESSION_EXEMPT_KINDS = ["verification", "password-reset", "notice"]

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
        "schedule": EMAIL_OUTBOX_SWEEP,
        "options": {"expires": EMAIL_OUTBOX_SWEEP},
    },
    "remove what is old": {"task": "authentication.verification.purge", "schedule": 86_400.0},
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
    "loggers": {
        **{name: {"level": ENV.log_level} for name in ("authentication", "e_commerce_api", "robust_email")},
        "django.request": {"level": "ERROR"},  # a wrong password is no warning
    },
}

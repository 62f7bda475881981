"""Django settings of the library's own tests: the least a project needs to use ``robust_email``.

The reference service has its tests in ``tests/service`` and brings its own settings.
"""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).parents[1] / "src" / "robust_email"

SECRET_KEY = "only for tests"
USE_TZ = True
TIME_ZONE = "UTC"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "robust_email",
    "robust_email.governor",
    *(["robust_email.outbox"] if (LIBRARY / "outbox" / "models.py").is_file() else []),
    *(["robust_email.suppression"] if (LIBRARY / "suppression" / "models.py").is_file() else []),
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# No EMAIL_BACKEND: Django's test environment replaces it, and 6.1 warns of it. Tests set what they need.

# The admin's pages, and nothing that they do not need.
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
MIDDLEWARE = [
    "tests.policy.strict_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

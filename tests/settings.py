"""Django settings of the library's own tests: the least a project needs to use ``robust_email``.

The reference service has its tests in ``tests/service`` and brings its own settings.
"""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).parents[1] / "src" / "robust_email"

SECRET_KEY = "only for tests"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "robust_email",
    "robust_email.governor",
    *(["robust_email.outbox"] if (LIBRARY / "outbox" / "models.py").is_file() else []),
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# No EMAIL_BACKEND: Django's test environment replaces it, and 6.1 warns of it. Tests set what they need.

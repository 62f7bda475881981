"""The Django app: to be listed in ``INSTALLED_APPS`` for the system checks and commands. The backend works without."""

from __future__ import annotations

from django.apps import AppConfig


class RobustEmailConfig(AppConfig):
    """Registers the system checks."""

    name = "robust_email"
    verbose_name = "Robust e-mail"

    def ready(self) -> None:
        """Import what registers itself."""
        from robust_email import checks  # noqa: F401 - checks may be registered only once apps are being loaded

"""The Django app. Add ``robust_email.outbox`` to ``INSTALLED_APPS`` to have its tables, commands and checks."""

from __future__ import annotations

from django.apps import AppConfig


class OutboxAppConfig(AppConfig):
    """Tables are named ``robust_email_outbox_*``."""

    name = "robust_email.outbox"
    label = "robust_email_outbox"
    verbose_name = "Outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks."""
        from robust_email.outbox import checks

        checks.register()

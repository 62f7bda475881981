"""The Django app. Add ``robust_email.suppression`` to ``INSTALLED_APPS``, after ``robust_email.outbox``."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured


class SuppressionConfig(AppConfig):
    """Tables are named ``robust_email_suppression_*``."""

    name = "robust_email.suppression"
    label = "robust_email_suppression"
    verbose_name = "Suppressed addresses"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen for refusals, stand at the outbox's gate, and register the check.

        Raises ``ImproperlyConfigured`` without the outbox, whose rows tell a true report from a forged one.
        """
        if not apps.is_installed("robust_email.outbox"):
            raise ImproperlyConfigured("robust_email.suppression needs robust_email.outbox in INSTALLED_APPS.")
        from robust_email.outbox import gate
        from robust_email.suppression import checks, receivers, selectors

        gate.stand_at(selectors.suppressed)
        receivers.connect()
        checks.register()

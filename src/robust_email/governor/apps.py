"""The app; list it in ``INSTALLED_APPS`` where ``EMAIL_GOVERNOR`` is ``"database"``, and run ``migrate``."""

from __future__ import annotations

from django.apps import AppConfig


class GovernorConfig(AppConfig):
    """One table."""

    name = "robust_email.governor"
    label = "robust_email_governor"
    verbose_name = "Robust e-mail: limits shared by workers"
    default_auto_field = "django.db.models.BigAutoField"

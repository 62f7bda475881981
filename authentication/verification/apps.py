"""Registers the verification by e-mail with Django."""

from __future__ import annotations

from django.apps import AppConfig


class VerificationConfig(AppConfig):
    """The mails to customers, their tasks, templates and start-up checks."""

    name = "authentication.verification"
    label = "verification"
    verbose_name = "Verification by e-mail"

    def ready(self) -> None:
        """Register the checks, have each attempt at a mail logged, and believe a code that came back."""
        from allauth.account.signals import email_confirmed, password_reset

        from authentication.verification import checks  # noqa: F401 - registers itself
        from authentication.verification.emails import log_attempt
        from authentication.verification.suppression import on_email_confirmed, on_password_reset
        from robust_email.outbox.signals import settled

        settled.connect(log_attempt, dispatch_uid="authentication.verification.emails")
        email_confirmed.connect(on_email_confirmed, dispatch_uid="authentication.verification.suppression")
        password_reset.connect(on_password_reset, dispatch_uid="authentication.verification.suppression")

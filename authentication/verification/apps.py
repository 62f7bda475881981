"""Registers the verification by code with Django."""

from __future__ import annotations

from django.apps import AppConfig


class VerificationConfig(AppConfig):
    """The codes, the two mail tasks and their templates."""

    name = "authentication.verification"
    label = "verification"
    verbose_name = "Verification by e-mail"

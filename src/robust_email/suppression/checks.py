"""System check of suppression. The database is not asked.

=============================  ==============================================================
robust_email_suppression.E001  a setting is wrong, or a return path has no room for a token
=============================  ==============================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from robust_email.suppression.conf import suppression_settings
from robust_email.suppression.tokens import bounce_address

if TYPE_CHECKING:
    from collections.abc import Sequence


def register() -> None:
    """Hook into ``manage.py check``."""
    checks.register(check_suppression, "mail")


def check_suppression(app_configs: Sequence[Any] | None = None, **_: object) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Examine the settings; a return path must have room for a token."""
    try:
        if suppression_settings().return_path is not None:
            bounce_address("postmaster@example.org")
    except ImproperlyConfigured as exc:
        return [checks.Error(str(exc), id="robust_email_suppression.E001")]
    return []

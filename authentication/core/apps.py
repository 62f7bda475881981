"""Registers the accounts with Django."""

from __future__ import annotations

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Labelled ``authentication``, so that the user model is ``authentication.User``."""

    name = "authentication.core"
    label = "authentication"
    verbose_name = "Accounts"

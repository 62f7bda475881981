"""Registers the pages with Django."""

from __future__ import annotations

from django.apps import AppConfig


class ShopfrontConfig(AppConfig):
    """Templates and static files; no tables."""

    name = "e_commerce_api.shopfront"
    label = "shopfront"
    verbose_name = "Pages"

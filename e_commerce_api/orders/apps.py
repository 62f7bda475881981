"""Registers the orders with Django."""

from __future__ import annotations

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """One endpoint, two tables, one mail."""

    name = "e_commerce_api.orders"
    label = "orders"
    verbose_name = "Orders"

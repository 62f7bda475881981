"""An order and its lines."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone


class Order(models.Model):
    """What a customer ordered. ``reference`` is chosen by the client, so that asking twice orders once."""

    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="orders")
    reference = models.UUIDField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """A reference is good once per customer."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "reference"], name="order_reference_once"),
        ]

    def __str__(self) -> str:
        """Say which."""
        return f"order {self.reference}"

    @property
    def total(self) -> int:
        """The sum in cents."""
        return sum(line.quantity * line.unit_price for line in self.lines.all())


class OrderLine(models.Model):
    """A product, how many, and for how many cents each."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.CharField(max_length=100)
    quantity = models.PositiveIntegerField()
    unit_price = models.PositiveIntegerField()

    class Meta:
        """In the order in which they were given."""

        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        """Say what."""
        return f"{self.quantity} x {self.product}"

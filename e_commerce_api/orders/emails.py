"""The confirmation of an order, with the order as a table to keep."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from authentication.verification.emails import build_email

if TYPE_CHECKING:
    from django.core.mail import EmailMultiAlternatives

    from e_commerce_api.orders.models import Order

FORMULA_STARTS = ("=", "+", "-", "@", "\t")
"""A spreadsheet takes a cell that begins so for a formula."""


def build_confirmation(order: Order) -> EmailMultiAlternatives:
    """Return the mail; the CSV is its attachment."""
    lines = [
        {"product": line.product, "quantity": line.quantity, "price": money(line.quantity * line.unit_price)}
        for line in order.lines.all()
    ]
    message = build_email(
        template="orders/confirmation",
        to=order.customer.email,
        language=order.customer.language,
        context={"number": str(order.reference)[:8], "lines": lines, "total": money(order.total)},
    )
    message.attach(f"order-{order.reference}.csv", as_csv(order), "text/csv")
    return message


def as_csv(order: Order) -> str:
    """Return the order's lines with a header, for a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["product", "quantity", "unit price", "price"])
    for line in order.lines.all():
        product = f"'{line.product}" if line.product.startswith(FORMULA_STARTS) else line.product
        writer.writerow([product, line.quantity, money(line.unit_price), money(line.quantity * line.unit_price)])
    return out.getvalue()


def money(cents: int) -> str:
    """Return euros and cents."""
    return f"{cents // 100}.{cents % 100:02d} EUR"

"""Place an order: the rows and the confirmation are one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from authentication.verification.kinds import ORDER_CONFIRMATION
from e_commerce_api.orders.emails import build_confirmation
from e_commerce_api.orders.models import Order, OrderLine
from robust_email import outbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authentication.core.models import User


@dataclass(frozen=True, slots=True)
class Line:
    """A wish: ``unit_price`` in cents."""

    product: str
    quantity: int
    unit_price: int


class OtherOrder(Exception):
    """The reference was used already, for something else."""


@transaction.atomic
def place_order(*, customer: User, reference: UUID, lines: Sequence[Line]) -> tuple[Order, bool]:
    """Return the order and whether it is new; the same again is the same order and no second mail.

    Raises:
        OtherOrder: the reference stands for other lines.
    """
    try:
        with transaction.atomic():
            order = Order.objects.create(customer=customer, reference=reference)
    except IntegrityError:
        return _known_order(customer, reference, lines), False
    OrderLine.objects.bulk_create(
        OrderLine(order=order, product=line.product, quantity=line.quantity, unit_price=line.unit_price)
        for line in lines
    )
    outbox.enqueue(
        build_confirmation(order),
        kind=ORDER_CONFIRMATION.name,
        dedupe_key=f"order-confirmation:{order.pk}",
        # A confirmation that comes twice looks like an order that was placed twice: a person decides.
        in_doubt="hold",
    )
    return order, True


def _known_order(customer: User, reference: UUID, lines: Sequence[Line]) -> Order:
    order = Order.objects.prefetch_related("lines").get(customer=customer, reference=reference)
    if [Line(line.product, line.quantity, line.unit_price) for line in order.lines.all()] != list(lines):
        raise OtherOrder
    return order

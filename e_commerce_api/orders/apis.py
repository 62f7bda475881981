"""``/api/orders/``: place an order, look at one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.generics import ListAPIView
from rest_framework.response import Response

from e_commerce_api.openapi import Conflict
from e_commerce_api.orders.models import Order
from e_commerce_api.orders.services import Line, OtherOrder, place_order

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from rest_framework.request import Request

MOST = 2**31 - 1
"""What the column holds."""


class LineFields(serializers.Serializer[Any]):
    """One product; the price is in cents."""

    product = serializers.CharField(max_length=100)
    quantity = serializers.IntegerField(min_value=1, max_value=10_000)
    unit_price = serializers.IntegerField(min_value=0, max_value=MOST)


class OrderInput(serializers.Serializer[Any]):
    """An order; ``reference`` is any new UUID, and the same one again is the same order."""

    reference = serializers.UUIDField()
    lines = LineFields(many=True, allow_empty=False, max_length=100)  # type: ignore[call-arg] # many=True takes it


class OrderOutput(OrderInput):
    """An order as it was placed; ``total`` is in cents."""

    created_at = serializers.DateTimeField()
    total = serializers.IntegerField()


class ReferenceUsed(APIException):
    """409."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "This reference stands for another order."
    default_code = "reference_used"


@extend_validation_errors(["null"], field_name="lines.INDEX", methods=["post"])
class OrdersApi(ListAPIView[Order]):
    """The customer's orders."""

    serializer_class = OrderOutput
    queryset = Order.objects.none()

    def get_queryset(self) -> QuerySet[Order]:
        """Return his own, the newest first."""
        if not self.request.user.is_authenticated:
            return Order.objects.none()
        return Order.objects.filter(customer=self.request.user).prefetch_related("lines").order_by("-pk")

    @extend_schema(request=OrderInput, responses={201: OrderOutput, 200: OrderOutput, 409: Conflict})
    def post(self, request: Request) -> Response:
        """Place an order; it is confirmed by mail. 200 instead of 201 if it was placed before."""
        given = OrderInput(data=request.data)
        given.is_valid(raise_exception=True)
        lines = [Line(**line) for line in given.validated_data["lines"]]
        try:
            order, new = place_order(
                customer=request.user,  # type: ignore[arg-type] # the permission says that it is a customer
                reference=given.validated_data["reference"],
                lines=lines,
            )
        except OtherOrder as error:
            raise ReferenceUsed from error
        return Response(OrderOutput(order).data, status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)

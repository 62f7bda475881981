"""For staff: whether an address is suppressed, why, and an end to it. The service has no admin that would show it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import IsAdminUser
from rest_framework.response import Response
from rest_framework.views import APIView

from authentication.verification.apis import Address
from robust_email.smtp import InvalidAddress
from robust_email.suppression import selectors, services
from robust_email.suppression.addresses import digest_of
from robust_email.suppression.models import Effect, Reason, Source, SuppressedAddress

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from rest_framework.request import Request

logger = logging.getLogger(__name__)

MOST_EVIDENCE = 50


class EvidenceFields(serializers.Serializer[Any]):
    """One thing that was said about the address, and what followed; addresses in it are masked."""

    noted_at = serializers.DateTimeField()
    said_by = serializers.ChoiceField(choices=Source.choices, source="source")
    status = serializers.CharField(allow_blank=True)
    effect = serializers.ChoiceField(choices=Effect.choices)
    detail = serializers.CharField(allow_blank=True)


class Suppression(serializers.Serializer[SuppressedAddress]):
    """Why an address gets no mail but what it asks for; ``expires_at`` null: until somebody lifts it."""

    reason = serializers.ChoiceField(choices=Reason.choices)
    said_by = serializers.ChoiceField(choices=Source.choices, source="source")
    status = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    evidence = serializers.SerializerMethodField()

    def get_evidence(self, row: SuppressedAddress) -> list[dict[str, Any]]:
        """Return the last of what was said, the newest first."""
        found = selectors.evidence_about(row.digest).reverse()[:MOST_EVIDENCE]
        return EvidenceFields(found, many=True).data  # type: ignore[return-value] # a list of dictionaries


def _rows(request: Request) -> QuerySet[SuppressedAddress]:
    given = Address(data=request.data)
    given.is_valid(raise_exception=True)
    try:
        digest = digest_of(given.validated_data["email"])
    except InvalidAddress:
        return SuppressedAddress.objects.none()
    return selectors.active().filter(digest=digest)


class FindSuppressionApi(APIView):
    """For staff: whether an address is suppressed."""

    permission_classes = (IsAdminUser,)

    @extend_schema(request=Address, responses=Suppression(many=True))
    def post(self, request: Request) -> Response:
        """Return the one suppression there is, or an empty list."""
        return Response(Suppression(_rows(request), many=True).data)  # type: ignore[arg-type] # many=True takes rows


class LiftSuppressionApi(APIView):
    """For staff: let an address have all mail again. Mail that was kept back stays ended until it is requeued."""

    permission_classes = (IsAdminUser,)

    @extend_schema(request=Address, responses={204: None})
    def post(self, request: Request) -> Response:
        """Lift it, and let the evidence and the log say who did; nothing to lift is a success too."""
        for row in _rows(request):
            services.lift(row, remark=f"by staff {request.user.pk}")
            logger.info("Staff %s lifted a suppression (%s)", request.user.pk, row.digest[:12])
        return Response(status=status.HTTP_204_NO_CONTENT)

"""What is ours beside allauth's endpoints: a customer's mails, the end of his account, and what support may do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.generics import ListAPIView
from rest_framework.permissions import IsAdminUser
from rest_framework.response import Response
from rest_framework.views import APIView

from authentication.core import services as accounts
from authentication.verification import selectors
from authentication.verification.kinds import KINDS, NOTICE
from authentication.verification.services import mail_customer
from e_commerce_api.openapi import Conflict
from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.selectors import timeline
from robust_email.outbox.services import operating
from robust_email.outbox.states import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from django.db.models import QuerySet
    from rest_framework.request import Request

logger = logging.getLogger(__name__)

PLAIN_WORDS: Final = {
    State.QUEUED: gettext_lazy("on its way to your provider"),
    State.CLAIMED: gettext_lazy("on its way to your provider"),
    State.DATA_STARTED: gettext_lazy("on its way to your provider"),
    State.ACCEPTED: gettext_lazy("accepted for delivery: look into your mailbox, and among the spam"),
    State.PARTLY: gettext_lazy("accepted for delivery: look into your mailbox, and among the spam"),
    State.REFUSED: gettext_lazy("refused by your provider: is the address right?"),
    State.DEAD: gettext_lazy("given up: your provider could not be reached"),
    State.IN_DOUBT: gettext_lazy("probably accepted for delivery; we are looking into it"),
    State.EXPIRED: gettext_lazy("not delivered, because its code had died: ask for a new one"),
    State.CANCELLED: gettext_lazy("withdrawn"),
    State.SUPERSEDED: gettext_lazy("replaced by a newer mail"),
}
"""A row's state, for the person whom the mail is for."""


class AccountEmail(serializers.Serializer[OutboxMessage]):
    """A mail: what it was, when it was written, and what became of it."""

    kind = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=State.choices)
    in_words = serializers.SerializerMethodField()

    def get_kind(self, row: OutboxMessage) -> str:
        """Return the kind as its receiver would call it."""
        return str(KINDS[row.kind].title) if row.kind in KINDS else _("E-mail")

    def get_in_words(self, row: OutboxMessage) -> str:
        """Return the state in plain words."""
        return str(PLAIN_WORDS[State(row.state)])


class AccountEmailsApi(ListAPIView[OutboxMessage]):
    """The mails to the customer who asks, the newest first."""

    serializer_class = AccountEmail
    queryset = OutboxMessage.objects.none()

    def get_queryset(self) -> QuerySet[OutboxMessage]:
        """Return those to his proven addresses."""
        if not self.request.user.is_authenticated:
            return OutboxMessage.objects.none()
        return selectors.mails_to_customer(self.request.user)


class Password(serializers.Serializer[Any]):
    """The password once more: a session that was left open must not be enough."""

    password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)


@extend_validation_errors(["incorrect_password"], field_name="password", methods=["post"])
class AccountApi(APIView):
    """The account itself."""

    @extend_schema(request=Password, responses={204: None})
    def post(self, request: Request) -> Response:
        """Delete the account, for good. The last mail says so."""
        given = Password(data=request.data)
        given.is_valid(raise_exception=True)
        user = request.user
        if not user.is_authenticated or not user.check_password(given.validated_data["password"]):
            raise serializers.ValidationError({"password": _("Incorrect password.")}, code="incorrect_password")
        mail_customer(kind=NOTICE, template="account/email/account_deleted", to=user.email)
        accounts.delete_account(user=user)
        return Response(status=status.HTTP_204_NO_CONTENT)


# -- support


class Address(serializers.Serializer[Any]):
    """Whose mails. In a body and not in the URL, which is written into logs."""

    email = serializers.CharField(max_length=254)


class TimelineEntry(serializers.Serializer[Any]):
    """A moment of a mail's life."""

    at = serializers.DateTimeField()
    what = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)


class SupportEmail(serializers.Serializer[OutboxMessage]):
    """A mail as support sees it: everything but its text."""

    id = serializers.UUIDField()
    message_id = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=State.choices)
    reason = serializers.CharField(allow_blank=True)
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    timeline = serializers.SerializerMethodField()

    def get_timeline(self, row: OutboxMessage) -> list[dict[str, Any]]:
        """Return what happened, in order."""
        return TimelineEntry(timeline(row), many=True).data  # type: ignore[return-value] # a list of dictionaries


class FindEmailsApi(APIView):
    """For staff: the last mails to an address."""

    permission_classes = (IsAdminUser,)

    @extend_schema(request=Address, responses=SupportEmail(many=True))
    def post(self, request: Request) -> Response:
        """Return up to 20, the newest first, each with its history. Nobody sees a body or a code."""
        given = Address(data=request.data)
        given.is_valid(raise_exception=True)
        rows = list(selectors.mails_to([given.validated_data["email"]])[:20])
        return Response(SupportEmail(rows, many=True).data)  # type: ignore[arg-type] # many=True takes a list


class NotNow(APIException):
    """409."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "not_possible"


class DecideEmailApi(APIView):
    """For staff: ``requeue`` a mail that has ended, ``cancel`` one, or ``resend`` one that is in doubt."""

    permission_classes = (IsAdminUser,)
    DECISIONS: ClassVar[dict[str, Callable[..., OutboxMessage]]] = {
        "requeue": operating.requeue,
        "cancel": operating.cancel,
        "resend": lambda pk, **words: operating.resolve(pk, accepted=False, **words),
        "accepted": lambda pk, **words: operating.resolve(pk, accepted=True, **words),
    }

    @extend_schema(request=None, responses={200: SupportEmail, 409: Conflict})
    def post(self, request: Request, pk: UUID, action: str) -> Response:
        """Decide, and let the log say who did."""
        decide = self.DECISIONS.get(action)
        if decide is None:
            raise NotFound
        try:
            row = decide(pk, reason=f"{action} by staff {request.user.pk}")
        except OutboxMessage.DoesNotExist as error:
            raise NotFound from error
        except operating.NotPossible as error:
            raise NotNow(str(error)) from error
        logger.info("Staff %s decided %s for mail %s", request.user.pk, action, pk)
        return Response(SupportEmail(row).data)

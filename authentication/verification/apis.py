"""The endpoints. They parse, call one service, and answer the same whether an address is known or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from rest_framework import serializers, status
from rest_framework.response import Response
from rest_framework.views import APIView

from authentication.verification import services

if TYPE_CHECKING:
    from collections.abc import Callable

    from rest_framework.request import Request

ON_ITS_WAY: Final = "If this address can be used, a mail with a code is on its way to it."
NOT_VALID: Final = "This code is not valid, or not any more. Ask for a new one."


class EmailField(serializers.EmailField):
    """An address without a quoted local part: those only hide tricks. The rest is Django's validator."""

    def to_internal_value(self, data: Any) -> str:  # noqa: ANN401 - whatever JSON holds
        """Refuse what is no address."""
        if '"' in str(data):
            raise serializers.ValidationError("Enter a valid email address.")
        return super().to_internal_value(data)


class AddressInput(serializers.Serializer[Any]):
    """Who is meant; at most 254 octets (RFC 5321 4.5.3.1.3)."""

    email = EmailField(max_length=254)


class PasswordInput(serializers.Serializer[Any]):
    """A password: never echoed, never trimmed, and short enough to hash."""

    password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)


class RegistrationInput(AddressInput, PasswordInput):
    """A new customer."""


class VerificationInput(AddressInput):
    """The code as it was read in the mail."""

    code = serializers.CharField(max_length=32)


class ResetInput(VerificationInput, PasswordInput):
    """The code and the new password."""


class ServiceApi(APIView):
    """Validate the input, call the service, turn its errors about the password into a 400."""

    Input: type[serializers.Serializer[Any]]

    def call(self, request: Request, service: Callable[..., bool | None]) -> bool | None:
        """Return what the service returns for the validated input."""
        given = self.Input(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            return service(**given.validated_data)
        except ValidationError as error:
            raise serializers.ValidationError({"password": error.messages}) from error

    def answer_always(self, request: Request, service: Callable[..., bool | None]) -> Response:
        """Answer 202 and the same words whatever the service found."""
        self.call(request, service)
        return Response({"detail": ON_ITS_WAY}, status=status.HTTP_202_ACCEPTED)

    def answer_code(self, request: Request, service: Callable[..., bool | None], done: str) -> Response:
        """Answer 200 and ``done`` if the code was right, 400 otherwise."""
        if self.call(request, service):
            return Response({"detail": done})
        return Response({"detail": NOT_VALID}, status=status.HTTP_400_BAD_REQUEST)


class RegisterApi(ServiceApi):
    """``POST /api/register/``."""

    Input = RegistrationInput

    def post(self, request: Request) -> Response:
        """Register and have the verification code mailed."""
        return self.answer_always(request, services.register_customer)


class VerifyApi(ServiceApi):
    """``POST /api/verify/``."""

    Input = VerificationInput

    def post(self, request: Request) -> Response:
        """Prove the address by the code from the mail."""
        return self.answer_code(request, services.verify_email, "The address is verified.")


class PasswordResetApi(ServiceApi):
    """``POST /api/password-reset/``."""

    Input = AddressInput

    def post(self, request: Request) -> Response:
        """Have a reset code mailed."""
        return self.answer_always(request, services.request_password_reset)


class PasswordResetConfirmApi(ServiceApi):
    """``POST /api/password-reset/confirm/``."""

    Input = ResetInput

    def post(self, request: Request) -> Response:
        """Set a new password by the code from the mail."""
        return self.answer_code(request, services.reset_password, "The password is changed.")

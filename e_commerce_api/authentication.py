"""Who asks: allauth's session token, as Django REST framework takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.headless.contrib.rest_framework.authentication import XSessionTokenAuthentication
from drf_spectacular.extensions import OpenApiAuthenticationExtension

if TYPE_CHECKING:
    from rest_framework.request import Request


class SessionToken(XSessionTokenAuthentication):  # type: ignore[misc] # allauth is not typed
    """``X-Session-Token``. Without a valid one the answer is 401 and not 403."""

    def authenticate_header(self, _request: Request) -> str:
        """Name the scheme for WWW-Authenticate."""
        return "X-Session-Token"

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return customer and session; a token that no session can have is no token."""
        token = self.get_session_token(request)
        if token is not None and not token.isalnum():
            return None
        found: tuple[Any, Any] | None = super().authenticate(request)
        return found


class SessionTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # its registry is not typed
    """How the OpenAPI document describes it."""

    target_class = SessionToken
    name = "sessionToken"

    def get_security_definition(self, _auto_schema: Any) -> dict[str, str]:  # noqa: ANN401 - as declared there
        """Return the scheme."""
        return {"type": "apiKey", "in": "header", "name": "X-Session-Token"}

"""Headers that keep a page from loading or showing what it should not, beside those of Django's own middleware."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
"""Nothing from elsewhere, nothing inline. A view that needs more sets a policy of its own."""


def with_inline_styles(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Wrap a view whose page, which is not ours, styles itself."""

    @wraps(view)
    def wrapped(request: HttpRequest, **arguments: object) -> HttpResponse:
        response = view(request, **arguments)
        response.headers["Content-Security-Policy"] = POLICY.replace("style-src", "style-src 'unsafe-inline'")
        return response

    return wrapped


class SecurityHeaders:
    """Sets Content-Security-Policy and Permissions-Policy; answers about accounts are kept by no cache."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Add to the answer what is not there yet."""
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        if request.path.startswith(("/_allauth/", "/api/")):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

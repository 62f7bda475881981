"""What is said where no view answers: in the form of all other errors below ``/api/``, as a short page elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse, JsonResponse

if TYPE_CHECKING:
    from django.http import HttpRequest


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django gives it by name
    """Answer 404."""
    return _answer(request, 404, "client_error", "not_found", "Not found.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, without a word about what happened."""
    return _answer(request, 500, "server_error", "error", "A server error occurred.")


def _answer(request: HttpRequest, status: int, kind: str, code: str, detail: str) -> HttpResponse:
    if request.path.startswith(("/api/", "/_allauth/")):
        body = {"type": kind, "errors": [{"code": code, "detail": detail, "attr": None}]}
        return JsonResponse(body, status=status)
    return HttpResponse(detail, status=status, content_type="text/plain; charset=utf-8")

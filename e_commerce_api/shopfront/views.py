"""The account page: one document, whose script speaks to the same endpoints as every other client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from authentication.verification.emails import shop_name

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@require_safe
@ensure_csrf_cookie
def account_page(request: HttpRequest) -> HttpResponse:
    """Show it; which step a customer is at, the script asks ``/_allauth/browser/v1/auth/session``."""
    response = render(request, "shopfront/account.html", {"shop": shop_name(), "languages": settings.LANGUAGES})
    response.headers["Cache-Control"] = "no-store"
    return response

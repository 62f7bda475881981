"""Every mail in every language, for developers: ``DEBUG`` only."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.clickjacking import xframe_options_sameorigin

from authentication.verification.emails import build_email
from authentication.verification.kinds import KIND_OF_TEMPLATE

if TYPE_CHECKING:
    from django.core.mail import EmailMultiAlternatives

TEMPLATES: Final = {
    **{template.rpartition("/")[2]: template for template in KIND_OF_TEMPLATE},
    "confirmation": "orders/confirmation",
}
LINES: Final = [
    {"product": "Teapot, 1.2 l", "quantity": 1, "price": "34.90 EUR"},
    {"product": "Cup", "quantity": 4, "price": "31.60 EUR"},
]


def example(name: str, language: str) -> EmailMultiAlternatives:
    """Build a mail with values that nobody has."""
    now = timezone.now()
    values = {
        "code": "WXRT-KPLM",
        "now": now,
        "expires_at": now + timedelta(minutes=30),
        "minutes": 30,
        "password_reset_url": f"{settings.CSRF_TRUSTED_ORIGINS[0]}/#reset",
        "number": "1f0c6a52",
        "lines": LINES,
        "total": "66.50 EUR",
    }
    return build_email(template=TEMPLATES[name], to="you@customer.example", language=language, context=values)


def all_mails(request: HttpRequest) -> HttpResponse:
    """Show them all, each in a frame of its own."""
    chosen = request.GET.get("language", settings.LANGUAGE_CODE)
    language = chosen if chosen in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE
    mails = [{"name": name, "subject": example(name, language).subject} for name in TEMPLATES]
    response = render(
        request,
        "shopfront/mails.html",
        {"mails": mails, "language": language, "languages": settings.LANGUAGES},
    )
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'self'; frame-src 'self'"
    return response


@xframe_options_sameorigin
def one_mail(_request: HttpRequest, name: str, language: str, part: str) -> HttpResponse:
    """Return one part of one mail, as it leaves."""
    if name not in TEMPLATES or language not in dict(settings.LANGUAGES) or part not in {"html", "text"}:
        raise Http404
    mail = example(name, language)
    if part == "text":
        response = HttpResponse(mail.body, content_type="text/plain; charset=utf-8")
    else:
        response = HttpResponse(str(mail.alternatives[0][0]))
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
    )
    return response

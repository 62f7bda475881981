"""Two middlewares around allauth's endpoints, for what its views leave open.

``OneAtATime`` has to stand before the session middleware: its transaction ends after the session was saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from allauth.account.internal.flows.email_verification_by_code import EMAIL_VERIFICATION_CODE_SESSION_KEY
from allauth.account.internal.flows.password_reset_by_code import PASSWORD_RESET_VERIFICATION_SESSION_KEY
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection, transaction
from django.http import JsonResponse
from django.urls import Resolver404, resolve

from authentication.core.models import User
from authentication.verification.kinds import PASSWORD_RESET, VERIFICATION, Kind
from authentication.verification.services import pretend_to_mail

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    GetResponse = Callable[[HttpRequest], HttpResponse]

ACCOUNTS: Final = "/_allauth/"
"""Where allauth's endpoints are."""
ANSWERS: Final = {IntegrityError: 409, RecursionError: 400}
"""To what its views do not catch."""


class OneAtATime:
    """Lets the requests of one session take turns, and answers 409 to who comes second to something unique.

    allauth counts wrong codes in the session. Without a lock, guesses that come together all read the same count, and a
    code that is sent twice at once is good twice.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Hold the row of the request's session until the answer is ready."""
        if not request.path.startswith(ACCOUNTS):
            return self._get_response(request)
        with transaction.atomic():
            keys = (request.headers.get("X-Session-Token"), request.COOKIES.get(settings.SESSION_COOKIE_NAME))
            for key in sorted({key for key in keys if key is not None and key.isalnum()}):
                session = Session.objects.select_for_update().filter(pk=key).first()
                if session is not None and _belongs_to_somebody_gone(session):
                    session.delete()
            return self._get_response(request)

    def process_exception(self, _request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer 409 to the second of two who wanted the same address, and 400 to JSON of too many levels.

        The view's own transaction has been rolled back.
        """
        behind: BaseException | None = exception
        while behind is not None:  # allauth saves the session in a `finally`, whose own error then stands in front
            for kind, status in ANSWERS.items():
                if isinstance(behind, kind):
                    return JsonResponse({"status": status}, status=status)
            behind = behind.__context__
        return None


def _belongs_to_somebody_gone(session: Session) -> bool:
    """Tell whether the session has a code for, or the login of, an account that was locked or deleted meanwhile."""
    data = session.get_decoded()
    keys = (EMAIL_VERIFICATION_CODE_SESSION_KEY, PASSWORD_RESET_VERIFICATION_SESSION_KEY)
    found = [data.get(SESSION_KEY), *((data.get(name) or {}).get("user_id") for name in keys)]
    owners: set[str] = {owner for owner in found if owner is not None}
    # With nobody to look for it looks for nobody, so that a session of an unknown address costs the same.
    return User.objects.filter(pk__in=owners or {"0"}, is_active=True).count() < len(owners)


@dataclass(frozen=True, slots=True)
class Effort:
    """What an endpoint costs if the address is known and a mail goes out, seen from outside."""

    status: int
    """Of the answer that says nothing."""
    statements: int
    """At least as many as the dearest way through it takes; the others are filled up with reads of nothing."""
    mail: tuple[Kind, str] | None = None
    """Kind and template of the mail, where allauth sends none to nobody."""


EFFORTS: Final = {
    "signup": Effort(401, 40),
    "request_password_reset": Effort(401, 30, (PASSWORD_RESET, "account/email/password_reset_code")),
    "resend_email_verification_code": Effort(200, 36, (VERIFICATION, "account/email/email_confirmation_signup")),
}
"""By the endpoint's name."""


class EvenEffort:
    """Lets these endpoints do the same work whether an address is known or not: the same mail, as many statements."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and then do what is missing."""
        effort = EFFORTS.get(_name_of(request)) if request.method == "POST" else None
        if effort is None:
            return self._get_response(request)
        count = _Count()
        with connection.execute_wrapper(count):
            response = self._get_response(request)
            if response.status_code == effort.status:
                if effort.mail is not None and not hasattr(request, "customer_was_mailed"):
                    pretend_to_mail(kind=effort.mail[0], template=effort.mail[1])
                while count.statements < effort.statements:
                    User.objects.filter(pk=0).exists()
        return response


class _Count:
    """Counts the statements of this thread."""

    statements = 0

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: ANN401, FBT001 - Django's signature
        self.statements += 1
        return execute(sql, params, many, context)


def _name_of(request: HttpRequest) -> str:
    if not request.path.startswith(ACCOUNTS):
        return ""
    try:
        return resolve(request.path_info).url_name or ""
    except Resolver404:
        return ""

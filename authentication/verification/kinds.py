"""The kinds of mail that a customer may get, as data: which template, which task carries it, how long it is of use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

SEND_VERIFICATION: Final = "authentication.verification.send_verification_email"
SEND_PASSWORD_RESET: Final = "authentication.verification.send_password_reset_email"  # noqa: S105 - a task's name
DELIVER: Final = "robust_email.outbox.deliver"
"""The library's own task, for what has no task of its own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mail. ``name`` stands in the outbox's row; ``title`` is what its receiver calls it."""

    name: str
    title: StrOrPromise
    task: str = DELIVER
    lifetime: timedelta | None = None
    """None: it is never too late for it."""
    secret: bool = False
    """It carries a code: the body is removed once it is accepted, and a newer one takes its place."""
    capped: bool = False
    """Anybody who knows the address can cause it, so a day has a limit."""


def _seconds(setting: str) -> timedelta:
    return timedelta(seconds=getattr(settings, setting))


VERIFICATION: Final = Kind(
    "verification",
    _("Code to confirm your e-mail address"),
    SEND_VERIFICATION,
    _seconds("ACCOUNT_EMAIL_VERIFICATION_BY_CODE_TIMEOUT"),
    secret=True,
    capped=True,
)
PASSWORD_RESET: Final = Kind(
    "password-reset",
    _("Code for a new password"),
    SEND_PASSWORD_RESET,
    _seconds("ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT"),
    secret=True,
    capped=True,
)
ACCOUNT_EXISTS: Final = Kind(
    "account-exists", _("You have an account already"), SEND_VERIFICATION, timedelta(days=1), capped=True
)
NOTICE: Final = Kind("notice", _("Notice about your account"))
ORDER_CONFIRMATION: Final = Kind("order-confirmation", _("Order confirmation"))

KINDS: Final = {kind.name: kind for kind in (VERIFICATION, PASSWORD_RESET, ACCOUNT_EXISTS, NOTICE, ORDER_CONFIRMATION)}

KIND_OF_TEMPLATE: Final = {
    "account/email/email_confirmation_signup": VERIFICATION,
    "account/email/email_confirmation": VERIFICATION,
    "account/email/password_reset_code": PASSWORD_RESET,
    "account/email/account_already_exists": ACCOUNT_EXISTS,
    "account/email/password_reset": NOTICE,
    "account/email/password_changed": NOTICE,
    "account/email/email_changed": NOTICE,
    "account/email/account_deleted": NOTICE,
}
"""What allauth asks for, by the template's prefix. A mail that is not here is a mistake of ours, and not sent."""

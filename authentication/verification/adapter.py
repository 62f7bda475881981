"""What is ours in allauth's flows: mail goes into the outbox, an address has one form, nothing tells who is known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context as current
from django.core.exceptions import ValidationError
from django.utils import translation
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _

from authentication.core.models import canonical_email
from authentication.verification import services
from authentication.verification.kinds import KIND_OF_TEMPLATE
from robust_email.smtp import Envelope, InvalidAddress

if TYPE_CHECKING:
    from allauth.account.internal.flows.email_verification_by_code import EmailVerificationProcess
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.forms import Form
    from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth is not typed
    """``ACCOUNT_ADAPTER``. The flows themselves are allauth's."""

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Write the mail into the outbox, in the request's transaction. SMTP is not spoken here."""
        # Of allauth's context only this goes into a mail: no Host header, no User-Agent, nobody's name.
        known: dict[str, Any] = {
            name: context[name] for name in ("code", "to_email", "password_reset_url") if name in context
        }
        services.mail_customer(
            kind=KIND_OF_TEMPLATE[template_prefix],
            template=template_prefix,
            to=canonical_email(email),
            context=known,
            expires_at=context.get("expires_at"),
            # Not the session's key: a new session has none yet, and that of a login changes.
            asked_by=current.request.session.setdefault("asks_as", get_random_string(22)),
        )
        current.request.customer_was_mailed = True  # guard.EvenEffort looks at it

    def send_confirmation_mail(
        self,
        request: HttpRequest,  # noqa: ARG002 - allauth's signature
        emailconfirmation: EmailVerificationProcess,
        signup: bool,  # noqa: FBT001 - the same
    ) -> None:
        """Say in the mail, and to the outbox, when the code really dies: sending it again makes nothing longer."""
        dies = emailconfirmation.state["at"] + app_settings.EMAIL_VERIFICATION_BY_CODE_TIMEOUT
        template = "account/email/email_confirmation" + ("_signup" if signup else "")
        values = {"code": emailconfirmation.code, "expires_at": datetime.fromtimestamp(dies, UTC)}
        self.send_mail(template, emailconfirmation.email_address.email, values)

    def send_account_already_exists_mail(self, email: str) -> None:
        """Cost what a new account costs: one password hash, the same statements, one mail."""
        services.pretend_to_register()
        super().send_account_already_exists_mail(email)

    def clean_email(self, email: str) -> str:
        """Return the one form of an address; refuses what SMTP cannot carry, and quoted local parts."""
        canonical = canonical_email(email)
        try:
            Envelope.of("", [canonical])
        except InvalidAddress as error:
            raise ValidationError(_("Enter a valid email address.")) from error
        if '"' in canonical:
            raise ValidationError(_("Enter a valid email address."))
        return str(super().clean_email(canonical))

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:  # noqa: ANN401 - allauth's signature
        """Let a customer log in however he writes his address."""
        if email := credentials.get("email"):
            credentials["email"] = canonical_email(email)
        user: AbstractBaseUser | None = super().authenticate(request, **credentials)
        return user

    def save_user(self, request: HttpRequest, user: Any, form: Form, commit: bool = True) -> AbstractBaseUser:  # noqa: ANN401, FBT001, FBT002 - allauth's signature
        """Keep the language of the registration for all mails that follow."""
        user.language = translation.get_language() or ""
        saved: AbstractBaseUser = super().save_user(request, user, form, commit)
        return saved

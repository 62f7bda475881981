"""Tokens for Microsoft 365 by ``msal``, with a client's own right or a person's refresh token.

Basic authentication of SMTP submission ends at Microsoft 365, so a log-in there is XOAUTH2. An application's own right
needs the permission ``SMTP.SendAsApp``, an administrator's consent and a service principal in Exchange; a person's
needs ``SMTP.Send``. Both need SMTP AUTH switched on for the mailbox. https://learn.microsoft.com/en-us/exchange/
client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth (read 2026-11). The
only file that imports ``msal``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from robust_email.credentials.grants import NO_REFRESH_TOKEN, RefreshToken, renewed
from robust_email.credentials.token_endpoint import OAuthRefused, token_of
from robust_email.smtp import CredentialsUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.credentials.tokens import Token

LOGIN: Final = "https://login.microsoftonline.com"
APPLICATION_SCOPE: Final = "https://outlook.office365.com/.default"
PERSON_SCOPE: Final = "https://outlook.office.com/SMTP.Send"

_PASSING: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down"})


@dataclass(frozen=True, slots=True)
class MicrosoftGrant:
    """``client_secret`` may be empty for a person's refresh token of a public client."""

    tenant: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    refresh_token: RefreshToken = NO_REFRESH_TOKEN
    scope: str = ""
    authority: str = ""
    """Another cloud's, as ``https://login.microsoftonline.us/TENANT``."""
    cafile: str | None = None

    @property
    def key(self) -> str:
        """As ``Grant`` has it."""
        return f"microsoft {self._authority} {self.client_id} {self._scope} {self.refresh_token.mark}"

    def obtain(self, previous: Token | None, seconds: float) -> Token:
        """As ``Grant`` has it. A new application each time: msal's own cache would return a token that was refused."""
        try:
            import msal
            import requests
        except ImportError as exc:
            text = "EMAIL_OAUTH with Microsoft needs msal: pip install 'django-robust-email[microsoft]'"
            raise CredentialsUnavailable(text, permanent=True) from exc
        from robust_email.credentials.requests_session import PatientSession

        kind = msal.ConfidentialClientApplication if self.client_secret else msal.PublicClientApplication
        try:
            with PatientSession(seconds, self.cafile) as session:
                return self._ask(kind, session, previous)
        except requests.RequestException as exc:
            text = f"Microsoft's token server gave no answer ({type(exc).__name__})"
            raise CredentialsUnavailable(text, permanent=False) from exc
        except ValueError as exc:  # msal's word for a tenant or client that cannot be
            raise CredentialsUnavailable("msal refuses the tenant, authority or client", permanent=True) from exc

    def _ask(self, kind: Callable[..., Any], session: object, previous: Token | None) -> Token:
        application = kind(
            self.client_id,
            client_credential=self.client_secret or None,
            authority=self._authority,
            # Whoever names an authority of his own vouches for it; Microsoft's list knows nothing of it.
            instance_discovery=False if self.authority else None,
            http_client=session,
        )
        if not self.refresh_token:
            return _token_of(application.acquire_token_for_client([self._scope]))
        return renewed(
            self.refresh_token,
            previous,
            lambda latest: _token_of(application.acquire_token_by_refresh_token(latest, [self._scope])),
        )

    @property
    def _authority(self) -> str:
        return self.authority or f"{LOGIN}/{self.tenant}"

    @property
    def _scope(self) -> str:
        return self.scope or (PERSON_SCOPE if self.refresh_token else APPLICATION_SCOPE)


def _token_of(answer: Any) -> Token:  # noqa: ANN401 - msal's dictionary
    if not isinstance(answer, dict):
        raise CredentialsUnavailable("msal returned nothing", permanent=False)
    if "error" in answer:
        code = str(answer["error"])
        raise OAuthRefused(code, str(answer.get("error_description", "")), permanent=code not in _PASSING)
    return token_of(answer)

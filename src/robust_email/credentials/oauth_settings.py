"""``EMAIL_OAUTH``: from a project's dictionary to a grant, each key checked; nothing is opened or asked.

=========================  ============================================================================================
``provider``               ``"microsoft"``, ``"google"`` or ``"generic"``
``client_id``              the application's, as registered with the provider
``client_secret``          its secret; may be missing where a refresh token's client is public
``refresh_token``          of a person who consented, or
``refresh_token_file``     the file that ``manage.py email_oauth`` writes it to
``tenant``                 Microsoft: the directory's id or name
``authority``              Microsoft: another cloud's URL, tenant included, instead of ``tenant``
``service_account_file``   Google: the key file of a service account that acts for ``EMAIL_HOST_USER``
``token_url``              generic: where tokens are given
``authorization_url``      generic: where a person consents in a browser
``device_url``             generic: where a device code is given (RFC 8628)
``scope``                  instead of the provider's usual one
``cafile``                 PEM file of the authorities to trust instead of the system's, for a private server
=========================  ============================================================================================

With neither refresh token nor service account the client asks in its own name (client credentials, RFC 6749 4.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from robust_email.credentials import google, microsoft
from robust_email.credentials.google import GoogleGrant
from robust_email.credentials.grants import GenericGrant, RefreshToken
from robust_email.credentials.microsoft import MicrosoftGrant
from robust_email.credentials.token_endpoint import check_url
from robust_email.smtp import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robust_email.credentials.tokens import Grant

PROVIDERS: Final = ("microsoft", "google", "generic")

_CLIENT: Final = ("client_id", "client_secret", "refresh_token", "refresh_token_file", "scope", "cafile")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "microsoft": (*_CLIENT, "tenant", "authority"),
    "google": (*_CLIENT, "service_account_file", "token_url", "authorization_url"),
    "generic": (*_CLIENT, "token_url", "authorization_url", "device_url"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """The dictionary, read and checked. Secrets do not show in ``repr``."""

    provider: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    refresh_token_file: str = ""
    tenant: str = ""
    authority: str = ""
    service_account_file: str = ""
    token_url: str = ""
    authorization_url: str = ""
    device_url: str = ""
    scope: str = ""
    cafile: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> OAuthSettings:
        """Check names and types, and what belongs together. Raises ``ConfigurationError``, without any value."""
        provider = given.get("provider")
        if provider not in PROVIDERS:
            raise ConfigurationError(f"EMAIL_OAUTH['provider'] must be one of {', '.join(PROVIDERS)}")
        for name, value in given.items():
            if name != "provider" and name not in _KEYS[provider]:
                raise ConfigurationError(f"EMAIL_OAUTH[{name!r}] is nothing that the provider {provider!r} knows")
            if value is not None and not isinstance(value, str):
                raise ConfigurationError(f"EMAIL_OAUTH[{name!r}] must be a string, not {type(value).__name__}")
        settings = cls(**{each.name: given.get(each.name) or "" for each in fields(cls)})
        settings._check()
        return settings

    def _check(self) -> None:
        for name in ("token_url", "authorization_url", "device_url", "authority"):
            if getattr(self, name):
                check_url(f"EMAIL_OAUTH[{name!r}]", getattr(self, name))
        missing = {
            "client_id": not (self.client_id or self.service_account_file),
            "tenant": self.provider == "microsoft" and not (self.tenant or self.authority),
            "token_url": self.provider == "generic" and not self.token_url,
            "client_secret": not (self.client_secret or self.refresh or self.service_account_file),
            "refresh_token_file": self.provider == "google" and not (self.refresh or self.service_account_file),
        }
        for name, is_missing in missing.items():
            if is_missing:
                raise ConfigurationError(f"EMAIL_OAUTH[{name!r}] is missing")

    @property
    def refresh(self) -> RefreshToken:
        """Where the refresh token is."""
        return RefreshToken("" if self.refresh_token_file else self.refresh_token, self.refresh_token_file)

    def grant(self, username: str) -> Grant:
        """Return how to get tokens for a mailbox."""
        cafile = self.cafile or None
        if self.provider == "microsoft":
            return MicrosoftGrant(
                tenant=self.tenant,
                client_id=self.client_id,
                client_secret=self.client_secret,
                refresh_token=self.refresh,
                scope=self.scope,
                authority=self.authority,
                cafile=cafile,
            )
        if self.provider == "google":
            return GoogleGrant(
                subject=username,
                service_account_file=self.service_account_file,
                client_id=self.client_id,
                client_secret=self.client_secret,
                refresh_token=self.refresh,
                scope=self.scope or google.SCOPE,
                token_url=self.token_url or google.TOKEN_URL,
                cafile=cafile,
            )
        return GenericGrant(
            token_url=self.token_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            scope=self.scope,
            refresh_token=self.refresh,
            cafile=cafile,
        )

    @property
    def consent(self) -> Consent:
        """Where a person consents, and to what."""
        if self.provider == "microsoft":
            base = self.authority or f"{microsoft.LOGIN}/{self.tenant}"
            return Consent(
                f"{base}/oauth2/v2.0/authorize",
                f"{base}/oauth2/v2.0/token",
                f"{base}/oauth2/v2.0/devicecode",
                f"{self.scope or microsoft.PERSON_SCOPE} offline_access",
            )
        if self.provider == "google":
            # No device flow: Google's gives no scope for mail ("Allowed scopes" in its guide to limited-input devices).
            authorization = self.authorization_url or "https://accounts.google.com/o/oauth2/v2/auth"
            return Consent(authorization, self.token_url or google.TOKEN_URL, "", self.scope or google.SCOPE)
        return Consent(self.authorization_url, self.token_url, self.device_url, self.scope)


@dataclass(frozen=True, slots=True)
class Consent:
    """URLs of an authorization server; those that it does not have are empty."""

    authorization_url: str
    token_url: str
    device_url: str
    scope: str

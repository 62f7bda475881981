"""Tokens for Gmail and Google Workspace by ``google-auth``: a service account that acts for a mailbox, or a person's.

A service account needs domain-wide delegation of the scope ``https://mail.google.com/`` by an administrator:
https://developers.google.com/workspace/gmail/imap/xoauth2-protocol. The only file that imports
``google.auth``.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from typing import Any, Final

from robust_email.credentials.grants import NO_REFRESH_TOKEN, RefreshToken, renewed
from robust_email.credentials.token_endpoint import OAuthRefused
from robust_email.credentials.tokens import Token
from robust_email.smtp import CredentialsUnavailable

SCOPE: Final = "https://mail.google.com/"
TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address


@dataclass(frozen=True, slots=True)
class GoogleGrant:
    """Either ``service_account_file`` with the mailbox as ``subject``, or a client with a refresh token."""

    subject: str = ""
    service_account_file: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    refresh_token: RefreshToken = NO_REFRESH_TOKEN
    scope: str = SCOPE
    token_url: str = TOKEN_URL
    cafile: str | None = None

    @property
    def key(self) -> str:
        """As ``Grant`` has it."""
        who = self.client_id or self.service_account_file
        return f"google {self.subject} {who} {self.scope} {self.token_url} {self.refresh_token.mark}"

    def obtain(self, previous: Token | None, seconds: float) -> Token:
        """As ``Grant`` has it."""
        try:
            import google.auth.exceptions
            import google.auth.transport.requests
        except ImportError as exc:
            text = "EMAIL_OAUTH with Google needs google-auth: pip install 'django-robust-email[google]'"
            raise CredentialsUnavailable(text, permanent=True) from exc
        from robust_email.credentials.requests_session import PatientSession

        with PatientSession(seconds, self.cafile) as session:
            request = google.auth.transport.requests.Request(session)
            try:
                if self.service_account_file:
                    return self._for_service_account(request)
                return renewed(self.refresh_token, previous, lambda latest: self._for_person(latest, request))
            except google.auth.exceptions.TransportError as exc:
                raise CredentialsUnavailable("Google's token server gave no answer", permanent=False) from exc
            except google.auth.exceptions.RefreshError as exc:
                raise _refusal(exc) from exc
            except google.auth.exceptions.GoogleAuthError as exc:
                raise CredentialsUnavailable(f"google-auth failed ({type(exc).__name__})", permanent=True) from exc

    def _for_service_account(self, request: object) -> Token:
        from google.oauth2 import service_account

        kind: Any = service_account.Credentials
        try:
            credentials = kind.from_service_account_file(
                self.service_account_file, scopes=[self.scope], subject=self.subject
            )
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is no service account's key file"
            text = f"{self.service_account_file} cannot be used: {reason}"
            raise CredentialsUnavailable(text, permanent=True) from exc
        credentials.refresh(request)
        return _token_of(credentials)

    def _for_person(self, refresh_token: str, request: object) -> Token:
        import google.auth.exceptions
        from google.oauth2.credentials import Credentials

        kind: Any = Credentials
        credentials = kind(
            None,
            refresh_token=refresh_token,
            token_uri=self.token_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
        )
        try:
            credentials.refresh(request)
        except google.auth.exceptions.RefreshError as exc:
            raise _refusal(exc) from exc
        return _token_of(credentials)


def _token_of(credentials: Any) -> Token:  # noqa: ANN401 - google-auth has no types
    now = time.time()
    expiry: dt.datetime | None = credentials.expiry  # naive, in UTC
    expires_at = expiry.replace(tzinfo=dt.UTC).timestamp() if expiry else now + 3600
    return Token(str(credentials.token), expires_at, now, refresh_token=getattr(credentials, "refresh_token", "") or "")


def _refusal(exc: Any) -> CredentialsUnavailable:  # noqa: ANN401 - google-auth has no types
    """Read ``RefreshError("invalid_grant: ...", {"error": "invalid_grant", ...})``."""
    answer = exc.args[1] if len(exc.args) > 1 and isinstance(exc.args[1], dict) else {}
    code = str(answer.get("error") or "an error without a name")
    return OAuthRefused(code, permanent=not exc.retryable)

"""Talk to an OAuth 2.0 server: form out, JSON in (RFC 6749 3.2, 5.1, 5.2), by the standard library alone."""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from functools import lru_cache
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from robust_email.credentials.tokens import Token
from robust_email.smtp import ConfigurationError, CredentialsUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ANSWER: Final = 262_144
"""Octets."""
DEFAULT_LIFETIME: Final = 3600.0
"""Seconds, for a server that does not say (RFC 6749 5.1 recommends that it does)."""

_PASSING: Final = frozenset({"server_error", "slow_down", "temporarily_unavailable", "authorization_pending"})
_CODE: Final = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_MICROSOFTS_CODE: Final = re.compile(r"AADSTS[0-9]{3,9}")


class OAuthRefused(CredentialsUnavailable):
    """The server answered with an error. ``code`` is RFC 6749's word for it: ``invalid_grant`` and its kin."""

    def __init__(self, code: str, description: str = "", *, permanent: bool) -> None:
        """Of the description only Microsoft's number is shown: the rest may name persons, and holds no secret."""
        detail = _MICROSOFTS_CODE.search(description)
        shown = f"{code} ({detail[0]})" if detail else code
        super().__init__(f"the token server answered {shown}{_ADVICE.get(code, '')}", permanent=permanent)
        self.code = code


_ADVICE: Final = {
    "invalid_grant": ": the refresh token or the consent has ended, run manage.py email_oauth again",
    "invalid_client": ": the client's id or secret is wrong, or the secret has expired",
    "unauthorized_client": ": this client is not registered for this way to get tokens",
    "invalid_scope": ": the scope is not one that this client may ask for",
}


def check_url(name: str, url: str) -> str:
    """Return a server's URL; ``ConfigurationError`` unless it is https, or http on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return url
    raise ConfigurationError(f"{name} must be an https URL: secrets go there")


def post(url: str, fields: Mapping[str, str], *, seconds: float, cafile: str | None = None) -> dict[str, Any]:
    """Post a form and return the object that came back.

    Raises ``OAuthRefused`` for an error in the server's words, else ``CredentialsUnavailable``. Redirects are not
    followed: the form holds secrets. The proxies of the environment are used (``HTTPS_PROXY``).
    """
    request = urllib.request.Request(  # noqa: S310 - check_url has seen it
        url, urlencode(fields).encode("ascii"), {"Accept": "application/json"}
    )
    try:
        with _opener(cafile).open(request, timeout=max(0.1, seconds)) as answer:
            return _object(answer.read(MAX_ANSWER))
    except urllib.error.HTTPError as exc:
        with exc:
            raise _refusal(exc.code, exc.read(MAX_ANSWER)) from exc
    except (OSError, HTTPException) as exc:
        reason = type(getattr(exc, "reason", exc)).__name__
        text = f"the token server {urlsplit(url).hostname} gave no answer ({reason})"
        raise CredentialsUnavailable(text, permanent=False) from exc


def token_of(answer: Mapping[str, Any]) -> Token:
    """Read a successful answer (RFC 6749 5.1). Raises ``CredentialsUnavailable`` if it holds no token."""
    value, lifetime = answer.get("access_token"), answer.get("expires_in", DEFAULT_LIFETIME)
    if not isinstance(value, str) or not value:
        raise CredentialsUnavailable("the token server's answer holds no access_token", permanent=False)
    try:
        seconds = float(lifetime)
    except (TypeError, ValueError):
        seconds = DEFAULT_LIFETIME
    now = time.time()
    return Token(value, now + seconds, now, refresh_token=str(answer.get("refresh_token") or ""))


def _refusal(status: int, body: bytes) -> CredentialsUnavailable:
    try:
        answer = _object(body)
    except CredentialsUnavailable:
        answer = {}
    code = str(answer.get("error", ""))
    if _CODE.fullmatch(code):
        permanent = code not in _PASSING and status < 500 and status != 429  # noqa: PLR2004 - HTTP's classes
        return OAuthRefused(code, str(answer.get("error_description", "")), permanent=permanent)
    text = f"the token server answered with HTTP status {status}"
    return CredentialsUnavailable(text, permanent=status in {400, 401, 403, 404})


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as exc:
        raise CredentialsUnavailable("the token server's answer is no JSON", permanent=False) from exc
    if not isinstance(found, dict):
        raise CredentialsUnavailable("the token server's answer is no JSON object", permanent=False)
    return found


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@lru_cache(maxsize=8)
def _opener(cafile: str | None) -> urllib.request.OpenerDirector:
    """Building a context costs tens of milliseconds."""
    context = ssl.create_default_context(cafile=cafile)
    return urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""A person's consent, once: the way to a refresh token. ``manage.py email_oauth`` walks through it.

Two ways: a code that the person types in on any device (RFC 8628), or a browser on this machine that comes back to a
port of it (RFC 8252, with PKCE, RFC 7636). Nothing is printed here; what a person has to do is handed to ``show``.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from robust_email.credentials.token_endpoint import OAuthRefused, post, token_of
from robust_email.smtp import CredentialsUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.credentials.oauth_settings import Consent
    from robust_email.credentials.tokens import Token

REQUEST: Final = 15.0
"""Seconds for one request to the server."""
_DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER: Final = 5.0
"""Seconds that RFC 8628 3.5 adds to the interval for each ``slow_down``."""


class ConsentFailed(Exception):
    """The person refused, was too slow, or what came back does not fit; the text says which."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks for consent, and where."""

    consent: Consent
    client_id: str
    client_secret: str = field(default="", repr=False)
    login_hint: str = ""
    """The mailbox, so that a browser with several accounts offers the right one."""
    cafile: str | None = None

    def identity(self) -> dict[str, str]:
        """What the token server wants to see of the client."""
        secret = {"client_secret": self.client_secret} if self.client_secret else {}
        return {"client_id": self.client_id} | secret


def by_device(client: Client, show: Callable[[str, str], None], sleep: Callable[[float], None] = time.sleep) -> Token:
    """Have a code typed in elsewhere. ``show(url, code)`` tells the person; returns when he has consented.

    Raises ``ConsentFailed``, and ``CredentialsUnavailable`` where the server does not answer.
    """
    fields = {"client_id": client.client_id, "scope": client.consent.scope}
    answer = post(client.consent.device_url, fields, seconds=REQUEST, cafile=client.cafile)
    try:
        url = str(answer.get("verification_uri") or answer["verification_url"])  # Google's older word
        code, device_code = str(answer["user_code"]), str(answer["device_code"])
        interval, lifetime = float(answer.get("interval", 5)), float(answer.get("expires_in", 900))
    except (KeyError, ValueError) as exc:
        raise ConsentFailed("the server gave no device code") from exc
    show(url, code)
    fields = client.identity() | {"grant_type": _DEVICE_GRANT, "device_code": device_code}
    waited = 0.0
    while waited < lifetime:
        sleep(interval)
        waited += interval
        try:
            return _with_refresh_token(
                token_of(post(client.consent.token_url, fields, seconds=REQUEST, cafile=client.cafile))
            )
        except OAuthRefused as exc:
            if exc.code == "slow_down":
                interval += _SLOWER
            elif exc.code != "authorization_pending":
                raise ConsentFailed(f"no consent: {exc.code}") from exc
    raise ConsentFailed("nobody typed the code in in time")


def by_browser(client: Client, show: Callable[[str], None], seconds: float = 300.0, port: int = 0) -> Token:
    """Have a browser on this machine come back here. ``show(url)`` tells the person where to go.

    ``port`` must be the one that is registered with the provider; 0 takes any, which Google's and Microsoft's desktop
    applications allow. Raises as ``by_device``.
    """
    verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(24)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    with _Landing(("127.0.0.1", port), state) as landing:
        redirect_uri = f"http://localhost:{landing.server_port}"
        query = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": redirect_uri,
            "scope": client.consent.scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "access_type": "offline",  # Google's way to ask for a refresh token
            "prompt": "consent",
        }
        if client.login_hint:
            query["login_hint"] = client.login_hint
        show(f"{client.consent.authorization_url}?{urlencode(query)}")
        code = landing.wait(seconds)
    fields = client.identity() | {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return _with_refresh_token(token_of(post(client.consent.token_url, fields, seconds=REQUEST, cafile=client.cafile)))


def _with_refresh_token(token: Token) -> Token:
    if not token.refresh_token:
        raise ConsentFailed("the server gave no refresh token: the scope may lack offline_access")
    return token


class _Landing(HTTPServer):
    """Where the browser comes back to: answers until the right answer came."""

    def __init__(self, address: tuple[str, int], state: str) -> None:
        super().__init__(address, _Page)
        self.state = state
        self.code = ""
        self.error = ""

    def wait(self, seconds: float) -> str:
        """Return the code. Raises ``ConsentFailed``."""
        until = time.monotonic() + seconds
        while not (self.code or self.error):
            self.timeout = until - time.monotonic()
            if self.timeout <= 0:
                raise ConsentFailed("the browser did not come back in time")
            self.handle_request()
        if self.error:
            raise ConsentFailed(f"no consent: {self.error}")
        return self.code

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that hangs up is nobody's concern."""


class _Page(BaseHTTPRequestHandler):
    server: _Landing
    timeout = 5

    def do_GET(self) -> None:
        given = dict(parse_qsl(urlsplit(self.path).query))
        # RFC 6749 10.12: whoever does not know the state was not sent by us.
        if not secrets.compare_digest(given.get("state", ""), self.server.state):
            self._answer(400, "This is not the answer that was waited for.")
        elif given.get("code"):
            self.server.code = given["code"]
            self._answer(200, "Done. You may close this window and go back to the terminal.")
        else:
            error = given.get("error", "")
            self.server.error = error if error.replace("_", "").isalnum() else "the server gave no code"
            self._answer(200, "There was no consent. Go back to the terminal.")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the address holds the code."""


__all__ = ["Client", "ConsentFailed", "CredentialsUnavailable", "by_browser", "by_device"]

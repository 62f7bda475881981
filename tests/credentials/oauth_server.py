"""An OAuth 2.0 authorization server on the loopback, written from the RFCs: tokens, device codes, consent by browser.

It says what Microsoft and Google say where they differ in the URL alone, and counts what it is asked. Faults are
answers put in the right ones' place.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    import ssl
    from types import TracebackType


DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Refusal(Exception):
    """An answer of RFC 6749 5.2, or any other status with any body."""

    def __init__(self, error: str, status: int = 400, *, body: bytes | None = None, **more: object) -> None:
        super().__init__(error)
        self.status = status
        self.body = json.dumps({"error": error, **more}).encode() if body is None else body


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128  # many threads ask at the same moment, and a SYN that is dropped costs a second


@dataclass
class OAuthServer:
    """Grants ``token-1``, ``token-2`` ...; the mail servers in ``relays`` take the newest one as the password."""

    context: ssl.SSLContext | None = None
    client_id: str = "client"
    client_secret: str = "hunter2-client"
    lifetime: float = 3600
    rotates: bool = False
    """End a refresh token with its first use and give another."""
    pending: int = 1
    """How often a device is told to wait."""
    interval: float = 1
    """Seconds between two questions of a device."""
    faults: list[Refusal] = field(default_factory=list)
    """Answers to the next requests for a token."""
    hold: threading.Event | None = None
    """Answer no request for a token before it is set."""
    account: dict[str, str] = field(default_factory=dict)
    """The accounts of a scripted mail server, kept at the newest token."""

    def __post_init__(self) -> None:
        self.refresh_tokens = {"hunter2-refresh-0"}
        self.granted: list[str] = []
        self.signed_for: list[tuple[str, str]] = []
        self.requests: list[dict[str, str]] = []
        self.paths: Counter[str] = Counter()
        self._codes: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if self.context is not None:
            self._server.socket = self.context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if self.context else 'http'}://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def revoke(self) -> None:
        """Make mail servers refuse what was granted so far."""
        for user in self.account:
            self.account[user] = "nothing that was granted"

    def token(self, fields: dict[str, str]) -> dict[str, Any]:
        """Answer a request for a token."""
        if self.hold is not None:
            self.hold.wait(10)
        with self._lock:
            self.requests.append(fields)
            if self.faults:
                raise self.faults.pop(0)
            answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": self.lifetime}
            match fields.get("grant_type"):
                case "client_credentials":
                    self._check_client(fields)
                case "refresh_token":
                    self._check_client(fields)
                    answer |= self._refreshed(fields.get("refresh_token", ""))
                case "authorization_code":
                    answer |= self._exchanged(fields)
                case kind if kind == DEVICE:
                    answer |= self._device(fields)
                case kind if kind == JWT:
                    header, payload, _ = fields["assertion"].split(".")
                    self.signed_for.append((_decoded(header)["alg"], _decoded(payload)["sub"]))
                case kind:
                    raise Refusal("unsupported_grant_type", kind=kind)
            self.granted.append(f"token-{len(self.granted) + 1}")
            for user in self.account:
                self.account[user] = self.granted[-1]
            return answer | {"access_token": self.granted[-1]}

    def _check_client(self, fields: dict[str, str]) -> None:
        if (fields.get("client_id"), fields.get("client_secret", "")) != (self.client_id, self.client_secret):
            raise Refusal("invalid_client", 401, error_description="AADSTS7000215: ann@example.org's secret is wrong")

    def _refreshed(self, given: str) -> dict[str, str]:
        if given not in self.refresh_tokens:
            raise Refusal("invalid_grant", error_description="AADSTS700082: expired")
        if not self.rotates:
            return {}
        self.refresh_tokens = {f"hunter2-refresh-{len(self.granted) + 1}"}
        return {"refresh_token": next(iter(self.refresh_tokens))}

    def _exchanged(self, fields: dict[str, str]) -> dict[str, str]:
        asked = self._codes.pop(fields.get("code", ""), None)
        digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or challenge != asked["code_challenge"] or fields["redirect_uri"] != asked["redirect_uri"]:
            raise Refusal("invalid_grant")
        return {"refresh_token": "hunter2-refresh-0"}

    def _device(self, fields: dict[str, str]) -> dict[str, str]:
        if fields.get("device_code") != "hunter2-device":
            raise Refusal("expired_token")
        if self.pending:
            self.pending -= 1
            raise Refusal("authorization_pending")
        return {"refresh_token": "hunter2-refresh-0"}

    def device(self, _fields: dict[str, str]) -> dict[str, Any]:
        """Answer a request for a device code (RFC 8628 3.2)."""
        return {
            "device_code": "hunter2-device",
            "user_code": "ABCD-EFGH",
            "verification_uri": f"{self.url}/device",
            "expires_in": 900,
            "interval": self.interval,
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Let the person consent at once; return where the browser goes next (RFC 6749 4.1.2)."""
        code = secrets.token_urlsafe(8)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"


def _decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _handler(server: OAuthServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.endswith("authorize"):
                self.send_response(302)
                self.send_header("Location", server.authorize(dict(parse_qsl(parts.query))))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            base = f"{server.url}/{parts.path.strip('/').partition('/')[0]}"
            metadata = {
                "issuer": base,
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            }
            self._answer(200, json.dumps(metadata).encode())

        def do_POST(self) -> None:
            path = urlsplit(self.path).path.rpartition("/")[2]
            server.paths[path] += 1
            fields = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            try:
                found = server.token(fields) if path == "token" else server.device(fields)
            except Refusal as refusal:
                self._answer(refusal.status, refusal.body)
            else:
                self._answer(200, json.dumps(found).encode())

        def _answer(self, status: int, body: bytes) -> None:
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status == 302:
                    self.send_header("Location", f"{server.url}/elsewhere")
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler

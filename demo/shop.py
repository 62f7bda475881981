"""A customer's side of the shop's API, as an app speaks to it."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SIGN_UP = "/_allauth/app/v1/auth/signup"
VERIFY = "/_allauth/app/v1/auth/email/verify"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said; ``seconds`` is how long the customer waited."""

    status: int
    body: dict[str, Any]
    seconds: float

    @property
    def waits_for_code(self) -> bool:
        """Whether it says: now enter the code from the mail. The status of that is 401, not logged in yet."""
        flows = self.body.get("data", {}).get("flows", [])
        return any(flow["id"] == "verify_email" and flow.get("is_pending") for flow in flows)


@dataclass(slots=True)
class Shop:
    """The API at ``url``; ``token`` is this customer's session."""

    url: str
    token: str = field(default="", repr=False)

    def register(self, email: str, password: str) -> Answer:
        """Open an account."""
        return self.post(SIGN_UP, {"email": email, "password": password})

    def verify(self, code: str) -> Answer:
        """Enter the code from the mail."""
        return self.post(VERIFY, {"key": code})

    def post(self, path: str, body: object) -> Answer:
        """Send JSON to any other endpoint."""
        begin = time.perf_counter()
        headers = {"Content-Type": "application/json", **({"X-Session-Token": self.token} if self.token else {})}
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            answer = Answer(response.status, json.loads(response.read()), time.perf_counter() - begin)
        finally:
            connection.close()
        self.token = answer.body.get("meta", {}).get("session_token") or self.token
        return answer

"""A customer's side of the shop's API."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said; ``seconds`` is how long the customer waited."""

    status: int
    body: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Shop:
    """The API at ``url``."""

    url: str

    def register(self, email: str, password: str) -> Answer:
        """Open an account."""
        return self._post("/api/register/", {"email": email, "password": password})

    def verify(self, email: str, code: str) -> Answer:
        """Enter the code from the mail."""
        return self._post("/api/verify/", {"email": email, "code": code})

    def _post(self, path: str, body: dict[str, str]) -> Answer:
        begin = time.perf_counter()
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()), time.perf_counter() - begin)
        finally:
            connection.close()

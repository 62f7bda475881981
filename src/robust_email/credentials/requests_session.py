"""The HTTP client that ``msal`` and ``google-auth`` are given: with our time limit, our authorities, and no redirects.

Both use ``requests`` and bring it along; left to themselves they wait for minutes, and a bundle in the environment
(``REQUESTS_CA_BUNDLE``) wins over the one that was asked for.
"""

from __future__ import annotations

from typing import Any

import requests


class PatientSession(requests.Session):
    """Each request ends within ``seconds``, and trusts the PEM file ``cafile`` where one is given."""

    def __init__(self, seconds: float, cafile: str | None) -> None:
        super().__init__()
        self._options: dict[str, Any] = {"timeout": max(0.1, seconds), "allow_redirects": False}
        if cafile is not None:
            self._options["verify"] = cafile

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401 - passed on
        """Make a request; ours come before what the library would have."""
        return super().request(method, url, **options | self._options)

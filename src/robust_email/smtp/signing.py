"""Signing a message after its last change: the octets that are signed are those that go to the server."""

from __future__ import annotations

from typing import Protocol


class SigningFailed(Exception):
    """The message cannot be signed until a person acts; the text says why, and holds no secret."""


class Signer(Protocol):
    """Signs messages (DKIM, RFC 6376). Called by many threads at once; equal (and hashable) ones share one pool."""

    def sign(self, content: bytes) -> bytes:
        """Return the header fields to put before ``content``, lines ended by CRLF. Raises ``SigningFailed``."""

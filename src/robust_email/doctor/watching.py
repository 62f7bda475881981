"""A stream that remembers what came in, so that silence, dripping and another protocol can be told apart."""

from __future__ import annotations

from typing import Final

from robust_email.smtp.net.stream import Stream

_REMEMBERED: Final = 512
"""Octets from the beginning of each step; enough to recognise who is talking."""


class WatchedStream(Stream):
    """A stream that counts the octets of the step under way."""

    received = 0
    beginning = b""

    def new_step(self) -> None:
        """Begin to count anew."""
        self.received, self.beginning = 0, b""

    def read_some(self, limit: int = 65_536) -> bytes | None:
        """As ``Stream.read_some``."""
        octets = super().read_some(limit)
        if octets:
            self.received += len(octets)
            self.beginning = (self.beginning + octets[:_REMEMBERED])[:_REMEMBERED]
        return octets

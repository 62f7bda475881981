"""Credentials that change while the process runs: asked for when a session is opened, told of when a server refuses.

A password in a file that an operator rotates, a secret manager, an OAuth 2.0 access token that lives for an hour: the
engine asks at the moment it needs one and keeps nothing. ``Credentials.provider`` says whom it asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from robust_email.smtp.config import Credentials


class CredentialsUnavailable(Exception):
    """There are none now. ``permanent``: nor will there be until a person acts; the text says what is wrong."""

    def __init__(self, text: str, *, permanent: bool) -> None:
        """``text`` holds no secret."""
        super().__init__(text)
        self.permanent = permanent


class CredentialsProvider(Protocol):
    """Where credentials come from. Called by many threads at once; equal (and hashable) ones share one session pool."""

    def credentials(self, seconds: float) -> Credentials:
        """Return those that are good now, within about ``seconds``.

        Raises ``CredentialsUnavailable``. Whatever else it raises counts as passing trouble.
        """

    def refused(self, credentials: Credentials) -> bool:
        """Be told that the server refused these; return whether others may be had, so that one more try makes sense.

        Many callers may be told of the same ones at about the same time. Never raises.
        """

    def still_good(self, credentials: Credentials) -> bool:
        """Return whether a session that was opened with these may take more mail.

        Asked for every mail: cheap. Never raises; where nothing can be said, they are good.
        """

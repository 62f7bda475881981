"""Where in a submission something happened: the word that errors, verdicts, events and logs share."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """The step of a submission. ``value`` is what logs, metrics and stored attempts show."""

    POOL = "pool"
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    RSET = "rset"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    AWAIT_FINAL = "await-final"
    """The end-of-data mark is with the server; a loss here leaves the mail in doubt."""

    @property
    def opens_session(self) -> bool:
        """Whether this phase is part of getting a session, so that no mail was offered yet."""
        return self in _OPENING


_OPENING = frozenset(
    {
        Phase.POOL,
        Phase.RESOLVE,
        Phase.CONNECT,
        Phase.TLS,
        Phase.GREETING,
        Phase.EHLO,
        Phase.STARTTLS,
        Phase.AUTH,
    }
)

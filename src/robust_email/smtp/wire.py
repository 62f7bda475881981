"""How a transaction may be written, by what the server offers."""

from __future__ import annotations

import enum


class Transport(enum.Enum):
    """Round trips per message on a warm session, at best: 4 and more, 2, 1."""

    STEPWISE = "stepwise"
    """Each command waits for its reply (RFC 5321)."""
    PIPELINED = "pipelined"
    """The envelope and DATA in one write, then the body (RFC 2920)."""
    CHUNKED = "chunked"
    """The envelope, BDAT LAST and the body in one write (RFC 3030)."""

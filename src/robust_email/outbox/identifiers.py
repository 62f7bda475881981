"""UUIDs of version 7 (RFC 9562 5.7): in the order of their making, so that an index grows at one end."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

_SUB_MILLISECOND: Final = 1_000_000
_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62


def uuid7() -> UUID:
    """Make one: 48 bits of milliseconds, 12 bits of their fraction (RFC 9562 6.2, method 3), 62 bits of chance."""
    milliseconds, rest = divmod(time.time_ns(), _SUB_MILLISECOND)
    fraction = rest * 4096 // _SUB_MILLISECOND
    return UUID(
        int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | _VERSION | fraction << 64 | _VARIANT | secrets.randbits(62)
    )


def made_at(identifier: UUID) -> datetime:
    """Return when one of version 7 was made, in UTC, by the clock of the host that did."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1_000, UTC)

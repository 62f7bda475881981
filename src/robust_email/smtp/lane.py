"""Who goes first where there is not enough for all."""

from __future__ import annotations

import enum


class Lane(enum.IntEnum):
    """The lower number goes first."""

    PRIORITY = 0
    """Somebody waits in front of a screen: a password reset, a log-in code."""
    NORMAL = 1
    BULK = 2
    """A newsletter: takes whatever the others leave."""

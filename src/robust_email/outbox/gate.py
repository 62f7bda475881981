"""Who may keep a mail from being offered to a relay, recipient by recipient: other apps stand at this gate.

It is asked when a mail is handed over and not when it is written, so that whoever writes one learns nothing about the
address from the answer, the time it takes, or the rows it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from robust_email.outbox.database import logger

Asked = tuple[str, str]
"""A mail's kind, and one recipient's address."""
Guard = Callable[[Collection[Asked]], Mapping[Asked, str]]
"""Returns why, for each that is to be kept back."""

_guards: Final[list[Guard]] = []


def stand_at(guard: Guard) -> None:
    """Ask this one too; adding it twice is adding it once."""
    if guard not in _guards:
        _guards.append(guard)


def is_attended() -> bool:
    """Tell whether there is anybody to ask."""
    return bool(_guards)


def kept_back(asked: Collection[Asked]) -> Mapping[Asked, str]:
    """Return why, for each that a guard keeps back. A guard that fails keeps nobody back, loudly."""
    found: dict[Asked, str] = {}
    for guard in _guards:
        try:
            found |= guard(asked)
        except Exception:  # noqa: BLE001 - nothing that a guard does may stop the mails
            # Mail to somebody who does not want it does less harm than a password reset that never leaves.
            logger.exception("Who is suppressed cannot be read; mail is handed over to all")
    return found

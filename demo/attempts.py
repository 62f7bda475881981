"""The attempts at one mail, put together from the log's structured fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from demo.records import Record


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of the task; ``retry_in`` is in seconds and None when no other was needed."""

    number: int
    time: float
    status: str
    phase: str
    detail: str
    message_id: str
    retry_in: float | None = None


def attempts_in(records: Iterable[Record]) -> list[Attempt]:
    """Return the attempts in order."""
    return [
        Attempt(
            number=record.extra["attempt"],
            time=record.time,
            status=record.extra["status"],
            phase=record.extra["phase"],
            detail=_short(record.extra["detail"]),
            message_id=record.extra["message_id"],
            retry_in=record.extra["retry_in"],
        )
        for record in records
        if record.logger == "authentication.verification.emails" and "attempt" in record.extra
    ]


def _short(detail: str) -> str:
    """Leave the first sentence: the remedies behind it are in the log above."""
    return detail.partition(". ")[0]

"""The attempts at one mail, put together from the log's structured fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from demo.records import Record


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of the task; ``retry_in`` is in seconds and None when no other was needed."""

    number: int
    of: int
    time: float
    status: str
    phase: str
    detail: str
    message_id: str
    retry_in: float | None = None


def attempts_in(records: Iterable[Record]) -> list[Attempt]:
    """Return the attempts in order."""
    found: dict[int, Attempt] = {}
    for record in records:
        extra = record.extra
        if record.logger == "authentication.verification.emails" and "status" in extra:
            found[extra["attempt"]] = Attempt(
                number=extra["attempt"],
                of=extra["attempts"],
                time=record.time,
                status=extra["status"],
                phase=extra["phase"],
                detail=_short(extra["detail"]),
                message_id=extra["message_id"],
            )
        elif "retry_in" in extra and extra.get("attempt") in found:
            found[extra["attempt"]] = replace(found[extra["attempt"]], retry_in=extra["retry_in"])
    return [found[number] for number in sorted(found)]


def _short(detail: str) -> str:
    """Leave the first sentence: the remedies behind it are in the log above."""
    return detail.partition(". ")[0]

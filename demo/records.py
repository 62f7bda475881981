"""Log records as lines of JSON, written by the service's processes and followed by the demo."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data"}


class JsonFormatter(logging.Formatter):
    """One line per record: time, level, logger, message and the ``extra`` fields that are plain values."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        extra = {
            name: value
            for name, value in vars(record).items()
            if name not in _STANDARD and isinstance(value, (str, int, float, type(None)))
        }
        line = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "extra": extra,
        }
        return json.dumps(line)


@dataclass(frozen=True, slots=True)
class Record:
    """A line that was read back; ``time`` is in seconds since the epoch."""

    time: float
    level: str
    logger: str
    message: str
    extra: dict[str, Any] = field(default_factory=dict)


class LogFile:
    """Follows a file of such lines from its beginning."""

    def __init__(self, path: Path) -> None:
        """The file need not exist yet."""
        path.touch()
        self._lines = path.open(encoding="utf-8")
        self._rest = ""

    def new_records(self) -> Iterator[Record]:
        """Yield what was written since the last call; a line that is not finished waits for the next one."""
        while chunk := self._lines.readline():
            self._rest += chunk
            if self._rest.endswith("\n"):
                line, self._rest = self._rest, ""
                yield Record(**json.loads(line))

    def close(self) -> None:
        """Stop following."""
        self._lines.close()

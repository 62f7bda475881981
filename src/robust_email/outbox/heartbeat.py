"""A sign of life for the mails that a worker holds, given by a thread of its own while the worker waits for a relay.

The thread touches the database only when the first interval is over, which for most mail never happens.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from django.db import Error as DbError
from django.db import connections

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.database import logger
from robust_email.outbox.services.claims import extend_lease

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID


class Heartbeat:
    """A context manager around the work on one claim."""

    def __init__(self, token: UUID) -> None:
        self._token = token
        self._interval = outbox_settings().heartbeat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="outbox heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        try:
            while not self._over.wait(self._interval):
                try:
                    if not extend_lease(self._token):
                        return  # nothing is left, or others have it
                except DbError as exc:
                    logger.warning("No sign of life could be given for the mails at hand (%s)", type(exc).__name__)
                    connections.close_all()
        finally:
            connections.close_all()

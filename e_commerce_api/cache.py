"""The cache in which limits are counted: Redis, and while that is away each process by itself.

Redis is the broker too, and a registration must be answered while it is down. What a day may cost an address is counted
in the database all the same.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

SILENCE: Final = 5.0
"""Seconds without a try after Redis did not answer, so that not every request waits for it."""


class SharedCache(RedisCache):
    """Takes Django's arguments for a ``RedisCache``."""

    _silent_until = 0.0  # of the process, whatever thread finds out

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._own = LocMemCache("while Redis is away", params)

    def add(self, key: str, value: object, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:  # noqa: ANN401 - Django's mark for "not given" is an object
        """Set what is not there yet."""
        return bool(self._ask("add", key, value, timeout, version))

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:  # noqa: ANN401 - what was set
        """Return a value or the default."""
        return self._ask("get", key, default, version)

    def set(self, key: str, value: object, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:  # noqa: ANN401 - as above
        """Keep a value."""
        self._ask("set", key, value, timeout, version)

    def delete(self, key: str, version: int | None = None) -> bool:
        """Forget a value."""
        return bool(self._ask("delete", key, version))

    def _ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - as they return
        if time.monotonic() >= SharedCache._silent_until:
            try:
                return getattr(super(), method)(*arguments)
            except (RedisError, OSError) as error:
                SharedCache._silent_until = time.monotonic() + SILENCE
                logger.warning("Redis is away (%s): each process counts its limits by itself", type(error).__name__)
        return getattr(self._own, method)(*arguments)

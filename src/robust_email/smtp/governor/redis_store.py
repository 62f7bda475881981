"""The store of many hosts: one Redis server, whose clock counts. Needs the ``redis`` extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from robust_email.smtp.governor.interface import Stored, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SWAP = """
local found = redis.call('GET', KEYS[1])
if found == false then found = '' end
if found ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
"""Compare and set at the server. Nothing that is stored is empty, so '' stands for a key that isn't there."""


class RedisStore:
    """Values in Redis. Two round trips per change; what does not answer within ``timeout`` seconds is gone."""

    def __init__(self, url: str, *, prefix: str = "robust-email:", timeout: float = 1.0) -> None:
        """Connect at the first use. ``url``: redis://, rediss:// or unix://, as ``redis.Redis.from_url`` takes it."""
        self._client: Any = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=timeout, socket_connect_timeout=timeout
        )
        self._prefix = prefix
        self._swap = self._client.register_script(_SWAP)

    def read(self, key: str) -> Stored:
        """Return a value and the server's time. Raises ``StoreUnavailable``."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.time()
                pipeline.get(self._prefix + key)
                answer: Sequence[Any] = pipeline.execute()
        except redis.RedisError as exc:
            raise StoreUnavailable(f"{type(exc).__name__}: {exc}") from exc
        (seconds, microseconds), text = answer
        return Stored(seconds + microseconds / 1e6, text)

    def swap(self, key: str, old: str | None, new: str, keep_for: float) -> bool:
        """Put ``new`` in place of ``old``; ``False`` if it has changed. Raises ``StoreUnavailable``."""
        try:
            return bool(self._swap(keys=[self._prefix + key], args=[old or "", new, int(keep_for * 1000)]))
        except redis.RedisError as exc:
            raise StoreUnavailable(f"{type(exc).__name__}: {exc}") from exc

    def close(self) -> None:
        """End the connections; the next use opens another."""
        self._client.close()

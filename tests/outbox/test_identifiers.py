"""UUIDs of version 7."""

from __future__ import annotations

import time
from uuid import RFC_4122

from robust_email.outbox.identifiers import uuid7


def test_version_and_variant() -> None:
    """It is a UUID of version 7 in the variant of RFC 9562."""
    made = uuid7()
    assert (made.version, made.variant) == (7, RFC_4122)


def test_it_carries_the_time() -> None:
    """The first 48 bits are the milliseconds since 1970."""
    before = time.time_ns() // 1_000_000
    milliseconds = uuid7().int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_later_ones_sort_behind() -> None:
    """Made a microsecond apart or more, they sort in the order of their making."""
    made = []
    for _ in range(200):
        made.append(uuid7())
        until = time.perf_counter_ns() + 2_000
        while time.perf_counter_ns() < until:
            pass
    assert made == sorted(made)
    assert len(set(made)) == len(made)

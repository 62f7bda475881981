"""Waiting until a socket can be read or written: ``poll`` where there is one, ``select`` where there is not.

``select.poll`` is looked up when it is called, so that gevent's monkey patching is honoured whenever it was applied.
"""

from __future__ import annotations

import math
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from robust_email.smtp.net.deadline import Deadline

_LONGEST_WAIT = 2**31 - 1
"""Milliseconds: the C ``int`` that ``poll`` takes."""


def wait_any(readers: Collection[int], writers: Collection[int], deadline: Deadline) -> tuple[set[int], set[int]]:
    """Wait until any descriptor is ready; return those to read and those to write, both empty at the deadline.

    A descriptor in error counts as ready for what it was asked for: using it then raises what happened.
    The kernel is asked at least once, however late it is: what has arrived before the deadline is not lost to it.
    """
    ask = _poll if hasattr(select, "poll") else _select
    while True:
        readable, writable = ask(readers, writers, deadline.remaining())
        if readable or writable or deadline.expired:
            return readable, writable


def _poll(readers: Collection[int], writers: Collection[int], seconds: float) -> tuple[set[int], set[int]]:
    poller = select.poll()
    for descriptor in {*readers, *writers}:
        wanted = (select.POLLIN if descriptor in readers else 0) | (select.POLLOUT if descriptor in writers else 0)
        poller.register(descriptor, wanted)
    # Rounded up: waking a fraction early would only mean to ask again.
    milliseconds = None if math.isinf(seconds) else min(math.ceil(seconds * 1000), _LONGEST_WAIT)
    found = poller.poll(milliseconds)
    readable = {descriptor for descriptor, event in found if descriptor in readers and event & ~select.POLLOUT}
    writable = {descriptor for descriptor, event in found if descriptor in writers and event & ~select.POLLIN}
    return readable, writable


def _select(readers: Collection[int], writers: Collection[int], seconds: float) -> tuple[set[int], set[int]]:
    # Windows reports a failed connect in the third set only.
    found = select.select(readers, writers, writers, None if math.isinf(seconds) else seconds)
    return set(found[0]), {*found[1], *found[2]}

"""A worker on a machine whose clocks are off: ``python -m tests.governor.apart JSON``; by ``ahead`` seconds.

Both clocks that Python code can ask are put there before anything of ours is loaded: the date, and the monotonic one,
which counts from another moment on every machine anyway.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def put_ahead(clock: Callable[[], float], seconds: float) -> Callable[[], float]:
    """Return a clock that goes as fast as this one and shows another time."""
    return lambda: clock() + seconds


if __name__ == "__main__":
    ahead = json.loads(sys.argv[1])["ahead"]
    time.time = put_ahead(time.time, ahead)
    time.monotonic = put_ahead(time.monotonic, ahead)
    from tests.governor.worker import main

    main()

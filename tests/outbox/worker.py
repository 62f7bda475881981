"""A worker that kills itself with SIGKILL at a given step, or runs ``outbox_drain`` with the arguments it is given.

``python -m tests.outbox.worker POINT ARGUMENT...``; POINT is ``never``, ``session`` (mails claimed, a session ready,
nothing marked), ``verdict`` (the relay has accepted, nothing written down) or ``settled`` (written down).
"""

from __future__ import annotations

import os
import signal
import sys

import django

django.setup()

from django.core.management import call_command  # noqa: E402 - after setup, as Django wants it

from robust_email.outbox.signals import settled  # noqa: E402 - the same
from robust_email.registry import registry  # noqa: E402 - the same
from robust_email.smtp.events import Event, SessionOpened, Submitted  # noqa: E402 - the same

EVENTS: dict[str, type[Event]] = {"session": SessionOpened, "verdict": Submitted}


def die(*_: object, **__: object) -> None:
    """End as if the machine had lost power."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(point: str, *arguments: str) -> None:
    """Arm the point and drain."""
    if kind := EVENTS.get(point):
        registry.subscribe(lambda event: die() if isinstance(event, kind) else None)
    elif point == "settled":
        settled.connect(die, weak=False)
    call_command("outbox_drain", *arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])

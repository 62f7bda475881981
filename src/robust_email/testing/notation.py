"""Faults in a word, for the command line: ``RCPT=451 4.7.1 later``, ``FINAL*1=close``, ``RCPT/bob@*2=stall``."""

from __future__ import annotations

import re

from robust_email.testing.faults import (
    Action,
    At,
    Close,
    Drip,
    Extra,
    Fault,
    Flood,
    Garbage,
    Inject,
    Reply,
    Reset,
    Stall,
    TlsGarbage,
)

_FAULT = re.compile(r"(?P<at>[A-Za-z_]+)(?:/(?P<subject>[^=*]+))?(?:\*(?P<times>\d+))?=(?P<action>.+)")

_ACTIONS: dict[str, Action] = {
    "close": Close(),
    "reset": Reset(),
    "stall": Stall(),
    "drip": Drip(),
    "garbage": Garbage(),
    "flood": Flood(),
    "inject": Inject(),
    "extra": Extra(),
    "tlsgarbage": TlsGarbage(),
}


def parse_fault(text: str) -> Fault:
    """Read ``MOMENT[/SUBJECT][*TIMES]=ACTION``; the action is one of the names above or the text of a reply.

    Raises :exc:`ValueError`, with what is possible.
    """
    found = _FAULT.fullmatch(text)
    if found is None or found["at"].upper() not in At.__members__:
        raise ValueError(f"a fault is MOMENT[/SUBJECT][*TIMES]=ACTION, the moment one of {', '.join(At.__members__)}")
    word = found["action"].strip()
    action = _ACTIONS.get(word.lower())
    if action is None and not word[:3].isdigit():
        raise ValueError(f"an action is one of {', '.join(_ACTIONS)}, or a reply that begins with its code")
    return Fault(
        At[found["at"].upper()],
        action or Reply(word),
        subject=found["subject"] or "",
        times=int(found["times"]) if found["times"] else None,
    )

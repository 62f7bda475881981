"""The outbox: its settings and the life of a row, from ``robust_email.outbox``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facts.markdown import beside, code, table
from robust_email.outbox import conf, states
from robust_email.outbox.states import FINAL, LEASED, TRANSITIONS, State

if TYPE_CHECKING:
    from collections.abc import Iterator


def page() -> str:
    """Return the reference page."""
    return f"""# Outbox

For `robust_email.outbox` in `INSTALLED_APPS`; {{doc}}`/how-to/outbox` shows how to use it. The commands are among
{{doc}}`commands`, the checks among {{doc}}`checks`.

## Settings

Settings of the project, whether it uses `EMAIL_*` or `MAILERS` for its relays.

{table(("Setting", "Unit", "Default", "What it does"), _settings())}
## The life of a row

Every change is one short transaction, and goes along one of these lines (`robust_email/outbox/states.py`). No
transaction is open while a relay is spoken to. `data-started` is committed before the end of a message may leave, so a
worker that dies leaves one of three cases that can be told apart: never begun, in doubt, done.

{table(("State", "Meaning", "Who moves it on"), _states())}
## What leads where

{table(("State", "Event", "Then"), _moves())}"""


def _settings() -> Iterator[tuple[str, ...]]:
    for option in conf.OPTIONS.values():
        yield code(option.setting), option.unit, _default(option.default), option.meaning


def _default(value: Any) -> str:  # noqa: ANN401 - a default is of any kind
    if value is None or value == ():
        return ""
    if isinstance(value, tuple) and isinstance(value[0], tuple):
        return ", ".join(f"{code(state.value)} {seconds / conf.DAY:g}" for state, seconds in value)
    if isinstance(value, tuple):
        return code("(" + ", ".join(f"{each:g}" for each in value) + ")")
    return code(f"{value:g}" if isinstance(value, float) else repr(value))


def _states() -> Iterator[tuple[str, ...]]:
    meanings = beside(states, "State")
    for state in State:
        mover = "a person" if state in FINAL and TRANSITIONS[state] else "a worker"
        if state in LEASED:
            mover = "the worker that has it, or a sweep once its lease is over"
        yield code(state.value), meanings[state.name], mover if TRANSITIONS[state] else "nobody"


def _moves() -> Iterator[tuple[str, ...]]:
    for state, moves in TRANSITIONS.items():
        for event, then in moves.items():
            yield code(state.value), code(event.value), code(then.value)

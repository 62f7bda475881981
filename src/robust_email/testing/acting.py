"""Perform an :data:`~robust_email.testing.faults.Action` on a channel."""

from __future__ import annotations

import itertools

from robust_email.testing.channel import Channel, ConnectionEnded
from robust_email.testing.faults import (
    Action,
    Close,
    CloseAfterBytes,
    Drip,
    Extra,
    Flood,
    Garbage,
    Inject,
    Reply,
    Reset,
    Stall,
    TakeThenClose,
    TakeThenStall,
    TlsGarbage,
)
from robust_email.testing.replies import Code, code_of, octets

_FLOOD_AT_ONCE = 64
"""Lines per write of a flood: enough to fill any buffer soon, small enough to notice the client's leaving."""


def say(channel: Channel, reply: str) -> str:
    """Write a reply, close behind a 421 (RFC 5321 3.8), and return it."""
    channel.write(octets(reply))
    if code_of(reply) == Code.CLOSING:
        _hang_up(channel)
    return reply


def perform(action: Action | None, usual: str, channel: Channel) -> str | None:
    """Do the action where the server would have said ``usual``; ``None`` says just that.

    Returns the reply that was said, an empty string for octets that are no reply, and ``None`` where nothing was said
    because there is no usual reply at this moment: the server then goes on as if nothing had happened.
    Raises :exc:`ConnectionEnded` where the action ends the dialogue.
    """
    match action:
        case None:
            return say(channel, usual) if usual else None
        case Reply():
            return _reply(action, usual, channel)
        case Extra(text):
            said = say(channel, usual) if usual else None
            channel.write(octets(text))
            return said
        case Inject(data):
            channel.write(octets(usual) + data)
            return usual
        case Drip():
            return _drip(action, usual, channel)
        case Garbage(data):
            channel.write(data)
            return ""
        case _:
            _end(action, usual, channel)
            raise ConnectionEnded


def _end(action: Action, usual: str, channel: Channel) -> None:
    """Perform an action that the dialogue does not survive."""
    match action:
        case Close() | TakeThenClose():
            channel.close()
        case Reset():
            channel.reset()
        case Stall(reading):
            channel.stall(reading=reading)
        case TakeThenStall():
            channel.stall(reading=True)
        case CloseAfterBytes(count):
            channel.write(octets(usual)[:count])
            channel.close()
        case TlsGarbage(data):
            channel.write(data)
            channel.close()
        case Flood(line):
            while True:
                channel.write(line * _FLOOD_AT_ONCE)


def _reply(action: Reply, usual: str, channel: Channel) -> str | None:
    channel.pause(action.delay)
    text = usual if action.text is None else action.text
    if not text:
        if action.close:
            _hang_up(channel)
        return None
    data = octets(text)
    cuts = [0, *action.split, len(data)]
    for start, end in itertools.pairwise(cuts):
        if start:
            channel.pause(action.gap)
        channel.write(data[start:end])
    if action.close or (action.close is None and code_of(text) == Code.CLOSING):
        _hang_up(channel)
    return text


def _drip(action: Drip, usual: str, channel: Channel) -> str | None:
    text = usual if action.text is None else action.text
    data = octets(text)
    if not data:
        return None
    while True:
        for start in range(0, len(data), action.size):
            channel.write(data[start : start + action.size])
            channel.pause(action.interval)
        if not action.endless:
            return text


def _hang_up(channel: Channel) -> None:
    channel.close()
    raise ConnectionEnded

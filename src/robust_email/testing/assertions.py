"""Assertions on a server's ledger that say what is wrong when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from robust_email.testing.ledger import AcceptedMessage


class Ledger(Protocol):
    """Whoever says what was taken: a ``ScriptedServer``, or ``inmemory.relay``."""

    @property
    def accepted(self) -> list[AcceptedMessage]:
        """What was taken, in order."""
        ...


def assert_accepted_once(server: Ledger, message_id: str) -> AcceptedMessage:
    """Return the one message that the server took under this ``Message-ID`` (angle brackets included).

    Raises :exc:`AssertionError` when it took none, or more than one, or gave a recipient the message twice.
    """
    found = [message for message in server.accepted if message.message_id == message_id]
    if len(found) != 1:
        others = [message.message_id for message in server.accepted]
        raise AssertionError(f"{message_id} was accepted {len(found)} times, wanted once; the ledger holds {others}")
    paths = found[0].forward_paths
    if len(set(paths)) != len(paths):
        raise AssertionError(f"{message_id} was accepted once, but with a recipient named twice among {len(paths)}")
    return found[0]


def assert_accepted_nothing(server: Ledger) -> None:
    """Raise :exc:`AssertionError` when the server took any message."""
    if server.accepted:
        raise AssertionError(f"wanted nothing accepted; the ledger holds {[m.message_id for m in server.accepted]}")

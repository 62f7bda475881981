"""From ``send_mail()`` to the relay's ledger, on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.mail import send_mail

from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage

if TYPE_CHECKING:
    from robust_email.testing import ScriptedServer


def test_a_mail_is_accepted(relay: ScriptedServer) -> None:
    """A mail is a row until a batch is run; then the relay has it, once, and the row says so."""
    assert send_mail("hi", "there", "shop@example.org", ["ann@example.net", "bob@example.net"]) == 1
    assert relay.accepted == []
    tally = run_batch()
    [row] = OutboxMessage.objects.all()
    assert (row.state, tally.claimed) == ("accepted", 1)
    [message] = relay.accepted
    assert message.forward_paths == ("ann@example.net", "bob@example.net")
    assert message.data == bytes(row.content)

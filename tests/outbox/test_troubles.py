"""A relay in trouble: one mail asks for all, and none is held back behind the news that it is well."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMessage
from django.db import connections, transaction
from django.utils import timezone

from robust_email.outbox import enqueue
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage, OutboxRelay
from robust_email.outbox.services import claims, troubles
from tests.outbox import databases
from tests.outbox.test_killed import until

if TYPE_CHECKING:
    from robust_email.testing import ScriptedServer


def waiting(count: int, relay: str = "default") -> None:
    """Put mails into the outbox."""
    for number in range(count):
        enqueue(EmailMessage(f"mail {number}", "there", "shop@example.org", [f"user{number}@example.net"]))
    OutboxMessage.objects.filter(relay="default").update(relay=relay)


def in_trouble(name: str, *, asked_in: float) -> OutboxRelay:
    """Note that a relay could not be had a minute ago, and is asked again in so many seconds."""
    now = timezone.now()
    return OutboxRelay.objects.create(
        name=name, trouble="down", since=now - timedelta(minutes=1), ask_again_at=now + timedelta(seconds=asked_in)
    )


def test_one_mail_asks_for_all(relay: ScriptedServer) -> None:
    """Whoever comes claims a single mail of a relay in trouble; it is accepted, and the others go at once."""
    waiting(5)
    in_trouble("default", asked_in=-1)
    assert run_batch().claimed == 1
    assert len(relay.accepted) == 1
    assert not OutboxRelay.objects.exists()
    assert run_batch().claimed == 4


@pytest.mark.parametrize("asked_in", [-1.0, 60.0])
def test_mail_of_other_relays_does_not_wait_for_it(outbox_url: str, asked_in: float) -> None:
    """A batch is full of their mail, whether the one in trouble is to be asked now or later."""
    waiting(20, "ref:ill")
    waiting(8, "ref:well")
    in_trouble("ref:ill", asked_in=asked_in)
    claimed = [row.relay for row in claims.claim(10).rows]
    assert claimed.count("ref:well") == 8
    assert claimed.count("ref:ill") == (asked_in < 0)


@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_nothing_is_held_back_behind_the_relay_s_return(outbox_url: str) -> None:
    """A worker that was about to hold mail back waits for the one that found the relay well, and then lets it be."""
    waiting(3)
    alias = databases.ToActive.alias
    assert alias is not None
    in_trouble("default", asked_in=60)
    late = threading.Thread(target=hold_back, args=[alias])
    with transaction.atomic(using=alias):
        OutboxRelay.objects.all().delete()
        late.start()
        until(lambda: blocks_somebody(alias))
    late.join(30)
    assert not OutboxMessage.objects.filter(waits_for_relay=True).exists()
    assert claims.claim(10).rows


def hold_back(alias: str) -> None:
    """Do so in a thread of its own, which has a connection of its own."""
    troubles.hold_back(alias)
    connections[alias].close()


def blocks_somebody(alias: str) -> bool:
    """Tell whether somebody waits for a lock that this connection has."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))")
        return cursor.fetchone() is not None

"""Workers killed with SIGKILL in the middle of a transaction: what they held comes back, and not too soon."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.governor.crowd import begin, results, workers
from tests.governor.provider import Provider
from tests.outbox.freezing import FreezingLine

if TYPE_CHECKING:
    from tests.governor.crowd import Process

CONNECTIONS = 2
LEASE = 2.0
MESSAGES, WINDOW = 6, 9.0
LIMITS: dict[str, Any] = {"connections": CONNECTIONS, "rate": f"{MESSAGES}/{WINDOW:g}s", "lease": LEASE, "task": "send"}

pytestmark = pytest.mark.slow


def until_in_the_content(name: str) -> int:
    """Octets of a worker's session up to where it is writing the content of its first mail."""
    commands = f"EHLO me.test\r\nMAIL FROM:<shop@example.org>\r\nRCPT TO:<{name}-0@example.org>\r\nDATA\r\n"
    return len(commands + "Subject: hi\r\n")


def frozen_in_a_transaction(provider: Provider, store: str, stack: ExitStack) -> tuple[list[Process], ExitStack]:
    """Start as many workers as there may be connections; each hangs in a transaction until the lines are closed."""
    lines = stack.enter_context(ExitStack())
    tasks, waiting = [], []
    for number in range(CONNECTIONS):
        name = f"victim{number}"
        line = FreezingLine((provider.host, provider.port), after=until_in_the_content(name))
        waiting.append(lines.enter_context(line).frozen)
        tasks.append({**LIMITS, "name": name, "mails": 1, "port": line.port, "endpoint": "the relay"})
    victims = stack.enter_context(workers(provider, store, *tasks))
    begin(victims)
    assert all(frozen.wait(20) for frozen in waiting)
    assert provider.wait_for(lambda: provider.account.begun == CONNECTIONS, 5)
    return victims, lines


def test_permits_of_workers_killed_in_a_transaction(shared_store: str) -> None:
    """Renewed while they live, kept until the lease is over, then taken; the messages that they began still count.

    The provider learns of their death half a lease later, as behind a firewall that swallows the end of a connection.
    """
    hold = {**LIMITS, "task": "hold", "endpoint": "the relay", "patience": 15.0}
    send = {**LIMITS, "name": "next", "mails": MESSAGES, "endpoint": "the relay"}
    with Provider(connections=CONNECTIONS, rate=(MESSAGES, WINDOW)) as provider, ExitStack() as stack:
        account = provider.account
        victims, lines = frozen_in_a_transaction(provider, shared_store, stack)
        started = time.monotonic()
        *holders, sender = stack.enter_context(workers(provider, shared_store, *[hold] * CONNECTIONS, send))
        assert not provider.wait_for(lambda: len(account.connected) > CONNECTIONS, LEASE + 0.5), "renewed while alive"
        for victim in victims:
            victim.kill()
        killed = time.monotonic()
        assert not provider.wait_for(lambda: len(account.connected) > CONNECTIONS, LEASE / 2), "the lease is not over"
        lines.close()
        account.most_at_once = 0
        assert [holder.stdout.readline() for holder in holders if holder.stdout] == ["held\n"] * CONNECTIONS
        assert account.most_at_once == CONNECTIONS, "both came back"
        assert account.connected[-1] - killed <= LEASE + 1.5
        for holder in holders:
            holder.communicate("enough\n", timeout=10)
        begin([sender])
        settled = results([sender])
    assert (account.too_many_connections, account.too_many_messages) == (0, 0)
    assert sorted(name for _, name in account.accepted) == sorted(mail.name for mail in settled)
    assert [mail.disposition for mail in settled] == ["accepted"] * MESSAGES
    assert account.accepted[0][0] - started < WINDOW, "else the messages of the dead would not be in this window"
    assert account.accepted[-1][0] - started <= WINDOW / 0.9 + 1.5, "they are forgotten with their window"

"""Providers that enforce more than a rate, used by several worker processes that share a store: Redis, or PostgreSQL.

The provider's own count of offences is the judge, and every mail is accepted once. Times are scaled: what is a minute
there lasts about a second here.
"""

from __future__ import annotations

import smtplib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.governor.crowd import begin, results, workers
from tests.governor.provider import Provider, Rules

if TYPE_CHECKING:
    from tests.governor.provider import Account

WORKERS = 4

pytestmark = pytest.mark.slow


def served(provider: Provider, store: str, count: int = WORKERS, **task: Any) -> Account:  # noqa: ANN401 - a task's
    """Let so many workers hand over their mails; each must end as accepted, once."""
    tasks = [{"task": "send", "name": f"w{number}", **task} for number in range(count)]
    with workers(provider, store, *tasks) as crowd:
        begin(crowd)
        settled = results(crowd)
    assert sorted(name for _, name in provider.account.accepted) == sorted(mail.name for mail in settled)
    assert len(settled) == count * task["mails"]
    assert {mail.disposition for mail in settled} == {"accepted"}
    assert provider.account.too_many_connections == 0
    return provider.account


def test_three_connections_and_twenty_in_two_seconds(shared_store: str) -> None:
    """Eight workers keep to both limits and use nine tenths of what they may."""
    with Provider(connections=3, rate=(20, 2.0)) as provider:
        account = served(provider, shared_store, 8, mails=8, rate="20/2s", connections=3)
    assert account.too_many_messages == 0
    assert account.most_at_once == 3
    first, last = account.accepted[0][0], account.accepted[-1][0]
    assert last - first <= 64 / 20 * 2.0 / 0.9


@pytest.mark.parametrize("max_idle", [0.4, 30.0], ids=["known", "unknown"])
def test_an_idle_session_is_left_before_it_is_ended(shared_store: str, max_idle: float) -> None:
    """Nobody talks to a session that the provider has ended, and none is counted as a failure, though it be unknown."""
    with Provider(Rules(idle=0.5)) as provider:
        account = served(provider, shared_store, 3, mails=4, pause=1.0, connections=3, pool={"max_idle": max_idle})
    assert account.idled_out > 0
    assert account.spoke_after_the_end == 0
    assert len(account.connected) <= 3 * 4


def test_a_log_in_throttle_is_not_run_against(shared_store: str) -> None:
    """When the account is locked, nobody logs in before the lock is over, but who was about to."""
    with Provider(Rules(logins=(8, 4.0, 4.0)), connections=2, password="right") as provider:
        pool = {"max_messages": 1}
        account = served(provider, shared_store, mails=3, connections=2, password="right", pool=pool)
    assert account.lockouts == 1
    assert account.logins_while_locked <= 1
    assert len(account.logins) <= 4 * 3 + 2


def test_a_greylisted_recipient_is_tried_again_in_time(shared_store: str) -> None:
    """Each is put off once and comes back when the schedule says, and the relay is not taken for one under pressure."""
    with Provider(Rules(greylist=1.0), connections=4) as provider:
        account = served(provider, shared_store, mails=3, connections=4, rate="1000/s", scale=1.1 / 60)
    assert (account.greylisted, account.came_back_too_soon) == (12, 0)


def test_a_storm_of_421_is_waited_out(shared_store: str) -> None:
    """Twice everything is answered with 421 for two seconds: it is tried by one at a time, ever less often."""
    breaker = {"failures": 3, "cooldown": 0.25, "longest_cooldown": 1.0}
    with Provider(Rules(storm=(16, 2.0)), connections=4) as provider:
        account = served(provider, shared_store, mails=10, connections=4, breaker=breaker)
    assert len(account.storms) == 2
    # Three to open it, what each worker had under way, and probes after 0.25, 0.5 and 1 seconds.
    assert max(account.storms) <= 3 + WORKERS + 3


def test_the_provider_sees_each_offence() -> None:
    """A client that keeps to nothing is caught at everything, else the tests above could not fail."""
    rules = Rules(idle=0.2, logins=(1, 60.0, 60.0), greylist=60.0, storm=(1, 60.0))
    with Provider(rules, password="right") as provider, smtplib.SMTP(provider.host, provider.port, timeout=5) as client:
        client.ehlo()
        client.login("ann", "right")
        for _ in range(3):
            client.docmd("AUTH", "PLAIN AGFubgByaWdodA==")
            client.docmd("RCPT", "TO:<ann@example.org>")
        client.data(b"Message-ID: <1@example.org>\r\n\r\nhello\r\n")
        with socket.create_connection((provider.host, provider.port), 5) as another:
            assert another.recv(1000).startswith(b"421")
        account = provider.account
        assert (account.lockouts, account.logins_while_locked) == (1, 2)
        assert (account.greylisted, account.came_back_too_soon) == (1, 2)
        assert account.storms == [1]
    with Provider(Rules(idle=0.1)) as provider, socket.create_connection((provider.host, provider.port), 5) as client:
        assert b"421 4.4.2" in b"".join(iter(lambda: client.recv(1000), b""))
        client.sendall(b"MAIL FROM:<ann@example.org>\r\n")
        client.shutdown(socket.SHUT_WR)
        assert provider.wait_for(lambda: provider.account.spoke_after_the_end == 1, 5)
        assert provider.account.idled_out == 1

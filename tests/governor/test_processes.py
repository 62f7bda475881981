"""The limits of a provider kept by many worker processes that share a Redis: the provider's own count is the judge.

Time is scaled: the provider's minute lasts some seconds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests import services
from tests.governor.crowd import ENVIRONMENT, ROOT, begin, results, workers
from tests.governor.provider import Account, Provider

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = 5.0
"""Seconds of the provider's minute here."""
LIMITS: dict[str, Any] = {"rate": f"30/{WINDOW:g}s", "connections": 3}


@pytest.mark.slow
def test_sixteen_workers_keep_to_three_connections_and_thirty_a_minute(redis_url: str) -> None:
    """No violation, nine tenths of the allowance used, and priority mail is out within two windows."""
    bulk = [{**LIMITS, "task": "send", "name": f"bulk{n}", "lane": "BULK", "mails": 5} for n in range(14)]
    urgent = [
        {**LIMITS, "task": "send", "name": f"reset{n}", "lane": "PRIORITY", "mails": 5, "pause": WINDOW / 4}
        for n in range(2)
    ]
    with Provider(connections=3, rate=(30, WINDOW)) as provider, workers(provider, redis_url, *bulk, *urgent) as crowd:
        begin(crowd)
        settled = results(crowd)
    account = provider.account
    assert (account.too_many_connections, account.too_many_messages) == (0, 0)
    assert sorted(name for _, name in account.accepted) == sorted(mail.name for mail in settled)
    assert {mail.disposition for mail in settled} == {"accepted"}
    first = account.accepted[0][0]
    later = [when for when, _ in account.accepted if when >= first + WINDOW]
    took = account.accepted[-1][0] - first - WINDOW
    assert len(later) >= 0.9 * 30 * took / WINDOW
    waits = sorted(mail.settled - mail.asked for mail in settled if mail.lane == "PRIORITY")
    assert statistics.quantiles(waits, n=100)[98] <= 2 * WINDOW


def test_connections_of_a_killed_worker_are_free_again_within_the_lease(redis_url: str) -> None:
    """They count as long as the lease runs, since the server may not have noticed; then others may have them."""
    limits = {"connections": 1, "lease": 1.5}
    hold = {**limits, "task": "hold"}
    send = {**limits, "task": "send", "name": "next", "mails": 1}
    with Provider(connections=2) as provider, workers(provider, redis_url, hold, send) as (holder, other):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        begin([other])
        assert not provider.wait_for(lambda: bool(provider.account.accepted), 2.0), "renewed while it lives"
        holder.kill()
        killed = time.monotonic()
        results([other])
    assert provider.account.accepted[0][0] - killed <= 1.5 + 1.5


def test_an_outage_is_seen_by_probes_alone_and_its_end_at_once(redis_url: str) -> None:
    """While the relay is out it is tried by one at a time, ever less often; then all mail goes, each once."""
    breaker = {"failures": 3, "cooldown": 0.25, "longest_cooldown": 1.0}
    tasks = [{"task": "send", "name": f"w{n}", "mails": 50, "breaker": breaker, "adaptive": False} for n in range(4)]
    outage = 4.0
    with Provider(connections=100) as provider, workers(provider, redis_url, *tasks) as crowd:
        provider.is_down = True
        begin(crowd)
        assert provider.wait_for(lambda: bool(provider.account.connected), 20)
        assert not provider.wait_for(lambda: bool(provider.account.accepted), outage)
        before = list(provider.account.connected)
        provider.is_down = False
        up = time.monotonic()
        settled = results(crowd)
    # Three to open it, one more that each worker may have had under way, then 0.25, 0.5, 1, 1, ... seconds apart.
    assert len(before) <= 3 + 4 + 2 + outage / 1.0
    probes = [when for when in provider.account.connected if when > up]
    assert provider.account.accepted[0][0] - probes[0] <= 1.0
    assert probes[0] - up <= 1.0 * 1.25 + 0.5
    assert sorted(name for _, name in provider.account.accepted) == sorted(mail.name for mail in settled)
    assert {mail.disposition for mail in settled} == {"accepted"}


def test_without_redis_each_keeps_to_its_part(tmp_path: Path) -> None:
    """At most twice the limit goes in the window in which it dies, and the limit in every later one."""
    limits = {"rate": "20/2s", "processes": 4, "timeout": 0.5, "adaptive": False}
    tasks = [{**limits, "task": "send", "name": f"w{n}", "mails": 18} for n in range(4)]
    with (
        Provider(connections=100) as provider,
        services.private_redis(tmp_path) as url,
        workers(provider, url, *tasks) as crowd,
    ):
        begin(crowd)
        assert provider.wait_for(lambda: len(provider.account.accepted) >= 10, 20)
        with redis.Redis.from_url(url) as client:
            client.shutdown(nosave=True)
        gone = time.monotonic()
        settled = results(crowd)
    assert len(provider.account.accepted) == len(settled) == 72
    assert provider.account.most_in(2.0) <= 2 * 20
    after = Account(accepted=[entry for entry in provider.account.accepted if entry[0] > gone + 2.0])
    assert 0 < after.most_in(2.0) <= 20


def test_a_wrong_password_is_not_tried_by_every_worker_again_and_again(redis_url: str) -> None:
    """After the first refusal the account is left alone, whoever asks (S25): providers lock accounts that go on."""
    tasks = [
        {"task": "send", "name": f"w{n}", "mails": 20, "password": "wrong", "patience": 0.0, "connections": 2}
        for n in range(4)
    ]
    with Provider(password="right") as provider, workers(provider, redis_url, *tasks) as crowd:
        begin(crowd)
        settled = results(crowd)
    assert len(settled) == 80
    assert {mail.disposition for mail in settled} == {"refused", "deferred"}
    assert len(provider.account.logins) <= 2, "as many as may connect at a time"


def test_a_forked_child_holds_connections_of_its_own(redis_url: str) -> None:
    """The parent's is neither used nor given back by the child, and goes on being renewed."""
    with Provider(connections=3) as provider:
        task = {"host": provider.host, "port": provider.port, "store": redis_url, "connections": 3}
        command = [sys.executable, "-W", "ignore", "-m", "tests.governor.forking", json.dumps(task)]
        seen = subprocess.run(
            command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
    assert seen.stdout.split() == ["1", "2", "2"]
    assert (len(provider.account.accepted), provider.account.most_at_once) == (3, 2)

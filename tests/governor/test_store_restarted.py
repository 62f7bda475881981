"""A Redis that is restarted and comes back empty, while several workers use it: the limits hold again."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import redis

from tests import services
from tests.governor.crowd import begin, results, workers
from tests.governor.provider import Account, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT, WINDOW, WORKERS = 20, 1.0, 4
TOLD_AFTER = 5.0 + 1.0
"""Seconds until everybody has asked the Redis again."""


@contextmanager
def emptied(url: str, folder: Path, *, noticed: bool) -> Iterator[None]:
    """Let the Redis come back with nothing in it: by a restart, or by one too quick for anybody to notice."""
    with redis.Redis.from_url(url) as client:
        if not noticed:
            client.flushall()
            yield
            return
        client.shutdown(nosave=True)
    program = services.require_program("Redis", "redis-server")
    command = [program, "--port", str(urlsplit(url).port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    again = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert again.stdout is not None
    try:
        assert any("Ready to accept connections" in line for line in again.stdout)
        yield
    finally:
        again.terminate()
        again.communicate(timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "unnoticed"])
def test_limits_hold_again(tmp_path: Path, noticed: bool) -> None:  # noqa: FBT001 - a parameter
    """At most twice the rate in the window in which it happens, the rate later, and never more connections."""
    task = {"rate": f"{LIMIT}/{WINDOW:g}s", "connections": 4, "processes": WORKERS, "timeout": 0.5, "adaptive": False}
    tasks = [{**task, "task": "send", "name": f"w{number}", "mails": 45} for number in range(WORKERS)]
    with (
        Provider(connections=100) as provider,
        services.private_redis(tmp_path) as url,
        workers(provider, url, *tasks) as crowd,
    ):
        begin(crowd)
        assert provider.wait_for(lambda: len(provider.account.accepted) >= LIMIT // 2, 20)
        gone = time.monotonic()
        with emptied(url, tmp_path, noticed=noticed):
            settled = results(crowd)
    account = provider.account
    assert sorted(name for _, name in account.accepted) == sorted(mail.name for mail in settled)
    assert {mail.disposition for mail in settled} == {"accepted"}
    assert account.most_in(WINDOW) <= 2 * LIMIT
    calm = gone + (TOLD_AFTER if noticed else 0.0) + WINDOW
    later = Account(accepted=[entry for entry in account.accepted if entry[0] > calm])
    assert 0 < later.most_in(WINDOW) <= LIMIT
    assert account.most_at_once <= 4

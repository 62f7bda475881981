"""Worker processes that share an account: one renewal for all of them, over a folder or over Redis."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.credentials.oauth_server import OAuthServer

if TYPE_CHECKING:
    from pathlib import Path

WORKER = """
import sys
from django.conf import settings

url, place, redis = sys.argv[1:]
settings.configure(
    SECRET_KEY="the project's",
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis}},
)
from robust_email import conf

oauth = {"provider": "generic", "client_id": "client", "client_secret": "hunter2-client", "token_url": url}
options = conf.read_options({"username": "shop", "oauth": oauth, "oauth_store": place})
provider = conf.smtp_config(options).credentials.provider
print("ready", flush=True)
sys.stdin.readline()
first = provider.credentials(20)
print(first.access_token, flush=True)
sys.stdin.readline()
assert provider.refused(first)
print(provider.credentials(20).access_token, flush=True)
"""
WORKERS = 5


def say(workers: list[subprocess.Popen[str]]) -> list[str]:
    """Let all go on, and give the next line of each."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return heard(workers)


def heard(workers: list[subprocess.Popen[str]]) -> list[str]:
    """Give the next line of each."""
    lines = []
    for worker in workers:
        assert worker.stdout is not None
        lines.append(worker.stdout.readline().strip())
    return lines


@pytest.mark.parametrize("kind", ["file", "cache"])
def test_one_renewal_for_all_processes(kind: str, tmp_path: Path, redis_url: str) -> None:
    """Five processes without a token ask for one together; five that were refused with it renew it once."""
    place = f"file:{tmp_path / 'tokens'}" if kind == "file" else "cache"
    with OAuthServer() as tokens:
        command = [sys.executable, "-c", WORKER, f"{tokens.url}/token", place, redis_url]
        workers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)
        ]
        try:
            assert heard(workers) == ["ready"] * WORKERS
            assert say(workers) == ["token-1"] * WORKERS
            assert say(workers) == ["token-2"] * WORKERS
            assert tokens.granted == ["token-1", "token-2"]
        finally:
            for worker in workers:
                worker.communicate(timeout=10)
    assert [worker.returncode for worker in workers] == [0] * WORKERS

"""Workers whose own clocks differ by minutes share one governor: the store's clock counts, and nobody notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.governor.crowd import begin, results, workers
from tests.governor.provider import Provider

if TYPE_CHECKING:
    from tests.governor.crowd import Settled

AHEAD = (0.0, 300.0, -300.0, 900.0)
"""Seconds by which the clocks of each worker are off."""

COOLDOWN = 3.0
"""Seconds for which an open circuit keeps everybody from trying; a quarter more by jitter."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("shared_store", ["redis", "postgres", "mariadb"], indirect=True),
]


def tasks(**task: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a task's
    """Give the same task to a worker with each clock."""
    return [{"task": "send", "name": f"w{number}", "ahead": ahead, **task} for number, ahead in enumerate(AHEAD)]


def judge(provider: Provider, settled: list[Settled], mails: int) -> None:
    """All mails of all workers were accepted, each once, and no limit was exceeded."""
    account = provider.account
    assert (account.too_many_connections, account.too_many_messages) == (0, 0)
    assert [mail.disposition for mail in settled] == ["accepted"] * mails * len(AHEAD)
    assert sorted(name for _, name in account.accepted) == sorted(mail.name for mail in settled)


def test_limits_are_kept_and_used_and_nobody_starves(shared_store: str) -> None:
    """Nine tenths of the rate is used, and no mail of any worker waits longer than three windows."""
    limit, window, mails = 10, 1.0, 15
    limits = {"rate": f"{limit}/{window:g}s", "connections": 3, "turn": 0.3, "lease": 2.0, "pause": 0.1}
    with (
        Provider(connections=3, rate=(limit, window)) as provider,
        workers(provider, shared_store, *tasks(mails=mails, **limits)) as crowd,
    ):
        begin(crowd)
        settled = results(crowd)
    judge(provider, settled, mails)
    accepted = provider.account.accepted
    assert provider.account.most_at_once == 3
    assert accepted[-1][0] - accepted[0][0] <= len(settled) / limit * window / 0.9
    assert max(mail.settled - mail.asked for mail in settled) <= 3 * window, "a starving one waits for the others' end"


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_circuit_opened_by_one_is_open_for_all(shared_store: str, ahead: float) -> None:
    """Whatever time it was for the worker that opened it and ended: when its pause is over, not before, all goes."""
    fields = {"breaker": {"failures": 3, "cooldown": COOLDOWN, "longest_cooldown": COOLDOWN}, "adaptive": False}
    opener = {"task": "send", "name": "opener", "ahead": ahead, "mails": 3, "patience": 0.0, **fields}
    with (
        Provider(connections=100) as provider,
        workers(provider, shared_store, opener, *tasks(mails=2, **fields)) as (first, *others),
    ):
        provider.is_down = True
        begin([first])
        results([first])
        provider.is_down = False
        begin(others)
        settled = results(others, timeout=20)
    judge(provider, settled, 2)
    connected = provider.account.connected
    assert COOLDOWN <= connected[3] - connected[2] <= 1.25 * COOLDOWN + 1.5

"""Several workers with two relays of which the first comes and goes: the ledgers of both are the judge."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.governor.crowd import Settled, begin, workers
from tests.governor.provider import Provider, Rules

WORKERS, MAILS = 4, 25
FLAPPING = Rules(storm=(12, 0.4), dies=5)
BREAKER = {"failures": 3, "cooldown": 0.1, "longest_cooldown": 0.3}


@pytest.mark.parametrize("is_killed", [False, True], ids=["all live", "one is killed"])
def test_no_mail_is_in_both(redis_url: str, is_killed: bool) -> None:  # noqa: FBT001 - a parameter
    """Accepted is in one ledger, once; in doubt is with the first at most; whoever was not killed has lost nothing."""
    with Provider(FLAPPING, connections=20) as first, Provider(connections=20) as second:
        place = {"host": second.host, "port": second.port}
        task = {"task": "send", "second": place, "mails": MAILS, "breaker": BREAKER, "adaptive": False}
        tasks = [{**task, "name": f"w{number}"} for number in range(WORKERS)]
        with workers(first, redis_url, *tasks) as crowd:
            begin(crowd)
            assert first.wait_for(lambda: len(first.account.accepted) >= 12, 20)
            if is_killed:
                crowd[0].kill()
            said = [process.communicate(timeout=30)[0] for process in crowd]
        settled = {mail.name: mail for text in said for mail in map(read, text.splitlines())}
    ours, theirs = (Counter(name for _, name in relay.account.accepted) for relay in (first, second))
    assert not ours.keys() & theirs.keys()
    assert max((ours + theirs).values()) == 1
    assert first.account.storms
    assert theirs
    for mail in settled.values():
        if mail.disposition == "in-doubt":  # its end was written, and whether it was read nobody can tell
            assert mail.name not in theirs
        else:
            assert (mail.disposition, (ours + theirs)[mail.name]) == ("accepted", 1)
    lost = {f"w{number}-{mail}" for number in range(WORKERS) for mail in range(MAILS)} - settled.keys()
    assert {name.partition("-")[0] for name in lost} <= ({"w0"} if is_killed else set())


def read(line: str) -> Settled:
    """What a worker said of one mail."""
    return Settled(*json.loads(line))

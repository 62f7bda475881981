"""Workers killed while the first of two relays stalls or dies under them: the ledgers of both are the judge."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command

from robust_email.testing import (
    At,
    Close,
    CloseAfterBytes,
    Extensions,
    Fault,
    Reply,
    Reset,
    Stall,
    TakeThenClose,
    TakeThenStall,
)
from tests.outbox import databases
from tests.outbox.processes import environment, worker
from tests.outbox.test_killed import WINDOW, enqueue, judge, judge_held, most_begun, until, work_off

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from robust_email.testing import ScriptedServer

MAILS, BATCH, DEATHS = 400, 10, 200
"""Mails, mails that a worker takes at a time, and connections of the first relay that die: all that come to be."""

WAYS_TO_DIE = (
    (At.RCPT, Stall()),
    (At.FINAL, TakeThenClose()),
    (At.MAIL, Reset()),
    (At.BEFORE_FINAL, Close()),
    (At.BODY, CloseAfterBytes(100)),
    (At.RCPT, Reply("421 4.3.2 going down")),
)
"""Each connection of the first relay ends in one of them, in turn."""
LATE = 4
"""Each so-manieth of them ends some mails later than the others: these may fall silent before."""
LEAVES_A_DOUBT = {At.FINAL, At.BEFORE_FINAL}

KILLS = ("progress", "before", "after", "progress", "after", "before", "progress")
"""When to kill: after some mails, or while the first relay is silent before or after it has taken a mail."""


@pytest.mark.slow
@pytest.mark.parametrize("in_doubt", ["resend", "hold"])
@pytest.mark.parametrize("outbox_url", ["postgres", "mariadb"], indirect=True)
def test_killed_while_failing_over(  # noqa: PLR0917 - pytest passes by name
    outbox_url: str,
    relay: ScriptedServer,
    smtp_faults: Callable[..., ScriptedServer],
    in_doubt: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lost 0, stuck 0; in both ledgers together a mail is twice only if in doubt, and with ``hold`` never."""
    dice = random.Random(20_261_124)  # noqa: S311 - where and when to die, the same in every run
    # With BDAT a whole window would be in doubt whenever the relay dies, and little left to fail over with.
    first, second = smtp_faults(*deaths(dice), extensions=Extensions(chunking=False)), relay
    env = environment(outbox_url, first, **two_relays(second))
    call_command("migrate", "robust_email_suppression", database=databases.ToActive.alias, verbosity=0)
    enqueue(MAILS, in_doubt=in_doubt)
    with (tmp_path / "said").open("w") as output:
        for when in KILLS:
            with worker(env, "never", "--until-empty", "--batch", str(BATCH), output=output) as process:
                until(moment(when, first, second, dice), process)
                process.kill()
                process.wait()
            assert most_begun() <= WINDOW
    work_off(env)
    doubts, doubles = (judge_held(first, MAILS, second), 0) if in_doubt == "hold" else judge(first, MAILS, second)
    taken = f"{len(first.accepted)} and {len(second.accepted)} accepted, {first.connections} sessions died"
    with capsys.disabled():
        print(f"\n{in_doubt}: {len(KILLS)} kills, {taken}, {doubts} in doubt, {doubles} doubled, 0 lost, 0 stuck")  # noqa: T201 - the figures are what the test is for
    assert first.connections < DEATHS
    assert first.accepted
    assert len(second.accepted) > MAILS / 4
    doubtful = sum(WAYS_TO_DIE[number % len(WAYS_TO_DIE)][0] in LEAVES_A_DOUBT for number in range(first.connections))
    assert 0 < doubts <= (len(KILLS) + doubtful) * WINDOW
    assert doubles <= doubts


def two_relays(second: ScriptedServer) -> dict[str, Any]:
    """Return the settings: the first relay is asked again and again, however often it has failed."""
    return {
        "EMAIL_RELAYS": [{"name": "first"}, {"name": "second", "host": second.host, "port": second.port}],
        "EMAIL_TIMEOUT": 1,
        "EMAIL_BREAKER_FAILURES": 1_000,
        "EMAIL_ADAPTIVE_LIMITS": False,
        "EMAIL_OUTBOX_RETRY_SCHEDULE": [0] * 30,  # a mail may be the one that the relay dies of again and again
    }


def deaths(dice: random.Random) -> list[Fault]:
    """Let each connection die in its way: most at their first mail, which then goes to the second relay."""
    return [
        Fault(
            *WAYS_TO_DIE[number % len(WAYS_TO_DIE)],
            connection=number,
            message=dice.randint(3, 6) if number % LATE == 0 else 1,
        )
        for number in range(1, DEATHS + 1)
    ]


def moment(when: str, first: ScriptedServer, second: ScriptedServer, dice: random.Random) -> Callable[[], bool]:
    """Return whether it has come: some mails from now, or the silence of one of the next connections."""
    if when == "progress":
        wanted = len(first.accepted) + len(second.accepted) + dice.randint(10, 40)
        return lambda: len(first.accepted) + len(second.accepted) >= wanted
    silent = (first.connections // LATE + 1) * LATE
    if when == "before":
        first.add_fault(Fault(At.RCPT, Stall(), connection=silent, message=1))
        return lambda: first.connections >= silent and "RCPT" in first.transcript(silent).verbs
    first.add_fault(Fault(At.FINAL, TakeThenStall(), connection=silent, message=1))
    return lambda: any(message.connection == silent for message in first.accepted)

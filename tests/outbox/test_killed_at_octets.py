"""A worker killed while the line stands still after some octet of a window, either way, over each transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.outbox.freezing import FreezingLine, Side
from tests.outbox.processes import environment, finish, worker
from tests.outbox.test_killed import enqueue, judge, most_begun, until, work_off
from tests.submission.relay import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.testing import ScriptedServer

MAILS, WINDOW, PLACES = 6, 3, 7
"""Mails written for each kill, mails in flight at most, and octets after which the line stands still, a side."""


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_killed_at_any_octet(
    outbox_url: str,
    relay: ScriptedServer,
    smtp_faults: Callable[..., ScriptedServer],
    transport: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lost 0, stuck 0, doubled only what says that it was in doubt, and that is a window for each kill at most."""
    server = smtp_faults(extensions=TRANSPORTS[transport])
    where = (server.host, server.port)
    with FreezingLine(where) as line:
        whole = killed(outbox_url, server, line)
    places: list[tuple[Side, int]] = [
        (side, max(1, octets * place // PLACES)) for side, octets in whole.items() for place in range(PLACES)
    ]
    for side, octets in places:
        with FreezingLine(where, side, octets) as line:
            killed(outbox_url, server, line)
            assert line.frozen.is_set(), (side, octets)
    work_off(environment(outbox_url, server))
    doubts, doubles = judge(server, MAILS * (len(places) + 1))
    with capsys.disabled():
        print(f"\n{transport}: {len(places)} kills, {doubts} in doubt, {doubles} doubled, 0 lost, 0 stuck")  # noqa: T201 - the figure is what the test is for
    assert doubles <= doubts <= len(places) * WINDOW
    assert doubts > 0


def killed(database: str, server: ScriptedServer, line: FreezingLine) -> dict[Side, int]:
    """Have a worker hand over new mails until the line stands still, and kill it; returns what had passed."""
    enqueue(MAILS)
    env = environment(database, server, EMAIL_PORT=line.port, EMAIL_OUTBOX_WINDOW=WINDOW)
    with worker(env, "never", "--until-empty", "--batch", str(MAILS)) as process:
        until(lambda: line.frozen.is_set() or process.poll() is not None)
        passed = dict(line.passed)
        process.kill()
        finish(process)
    assert most_begun() <= WINDOW
    return passed

"""The simulation of the docs, smaller: no violation, nine tenths used, and the priority lane soon served."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.simulation import RATE, Simulation, World
from robust_email.smtp.governor import Lane

SMALL = World(workers=100, relays=5, seconds=900.0, outage=(300.0, 600.0))


@pytest.mark.parametrize("seed", range(3))
def test_governed_workers_break_no_limit_and_use_what_they_may(seed: int) -> None:
    """Twenty workers to a relay, some killed, one relay out for five minutes."""
    run = Simulation(dataclasses.replace(SMALL, seed=seed)).run()
    assert run.violations() == 0
    assert run.use() >= 0.9
    assert run.wait_99(Lane.PRIORITY) <= 2 * RATE.seconds
    assert run.wait_99(Lane.PRIORITY) < run.wait_99(Lane.BULK)
    [out] = [relay for relay in run.relays if relay.out]
    assert out.tried_while_out <= 40


def test_the_judge_would_notice() -> None:
    """The same workers without the rules are refused thousands of times."""
    run = Simulation(dataclasses.replace(SMALL, governed=False)).run()
    assert run.violations() > 1000

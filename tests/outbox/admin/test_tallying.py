"""Tallies, what is read from them, and pausing: on each database."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connections
from django.db.models import Sum
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from robust_email.outbox import enqueue, selectors
from robust_email.outbox.dashboard import figures
from robust_email.outbox.database import database
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage, OutboxRelay, SubmissionTally
from robust_email.outbox.services import operating, tallying, troubles
from robust_email.outbox.services.sweeping import purge, sweep
from robust_email.outbox.services.tallying import BOUNDS, SLICE, beginning_of, roll_up, slice_of
from tests.outbox.admin.conftest import make_attempt, make_mail
from tests.outbox.test_flow import mail, make_due

if TYPE_CHECKING:
    import pytest

    from robust_email.outbox.dashboard.figures import Series
    from robust_email.testing import ScriptedServer


def ago(**how_long: float) -> datetime:
    """Return a time."""
    return timezone.now() - timedelta(**how_long)


def attempts_counted(relay: str) -> int:
    """Return how many attempts the tallies of a relay add up to."""
    return SubmissionTally.objects.filter(relay=relay).aggregate(sum=Sum("attempts"))["sum"] or 0


def test_every_attempt_is_counted_once(outbox_url: str) -> None:
    """However often and by whatever steps it runs, each attempt of a finished slice is in one tally of its relay."""
    dice = random.Random(3)  # noqa: S311 - any will do
    rows = [make_mail(relay="default"), make_mail(relay="ref:7")]
    for number in range(60):
        make_attempt(
            rows[number % 2],
            ended_at=ago(minutes=10 + 3 * number),
            seconds=dice.random() * 70,
            disposition=dice.choice(["accepted", "deferred", "refused"]),
        )
    while roll_up(limit=dice.randrange(1, 4)):
        pass
    assert roll_up() == 0
    assert [attempts_counted(relay) for relay in ("default", "ref:7", "")] == [30, 30, 60]


def test_a_slice_that_is_not_over_waits(outbox_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just ended is left alone while more may come, and counted by a sweep when its slice is over."""
    make_attempt(make_mail(), ended_at=timezone.now())
    sweep()
    assert attempts_counted("") == 0
    monkeypatch.setattr(tallying, "GRACE", -2 * SLICE)
    sweep()
    assert attempts_counted("") == 1


def test_two_sweeps_at_once_count_once(outbox_url: str) -> None:
    """Sweeps that meet at the same slices don't count them twice."""
    row = make_mail()
    for number in range(40):
        make_attempt(row, ended_at=ago(minutes=10 + 7 * number))
    errors: list[BaseException] = []

    def run() -> None:
        try:
            roll_up()
        except BaseException as exc:  # noqa: BLE001 - shown below
            errors.append(exc)
        finally:
            connections[database()].close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    roll_up()
    assert attempts_counted("default") == 40
    assert attempts_counted("") == 40


def test_old_tallies_go_with_the_purge(outbox_url: str) -> None:
    """The purge removes tallies that no chart shows."""
    for number in (slice_of(timezone.now()), slice_of(timezone.now()) - tallying.KEPT - 1):
        SubmissionTally.objects.create(slice=number, disposition="accepted", seconds_below=BOUNDS[-1], attempts=1)
    purge(dry_run=True)
    assert SubmissionTally.objects.count() == 2
    purge()
    assert SubmissionTally.objects.count() == 1


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - Hypothesis adds it
def test_a_time_is_in_its_slice(time: datetime) -> None:
    """A slice begins at or before each of its times, and ends after it."""
    number = slice_of(time)
    assert beginning_of(number) <= time < beginning_of(number + 1)
    assert slice_of(beginning_of(number)) == number


@given(st.lists(st.floats(min_value=0, max_value=59), min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_is_in_the_right_bin(durations: list[float], share: float) -> None:
    """It lies between the same two bounds as the exact one."""
    counts: dict[float, int] = {}
    for each in durations:
        below = next(bound for bound in BOUNDS if each < bound)
        counts[below] = counts.get(below, 0) + 1
    exact = sorted(durations)[max(0, -int(-share * len(durations) // 1) - 1)]
    found = figures.percentile(counts, share)
    assert found is not None
    high = next(bound for bound in BOUNDS if exact < bound)
    low = max((bound for bound in (0.0, *BOUNDS) if bound < high), default=0.0)
    assert low <= found <= high


def test_percentiles_of_nothing_and_of_the_endless() -> None:
    """Without a mail there is none; beyond the last bound it says that bound."""
    assert figures.percentile({}, 0.5) is None
    assert figures.percentile({BOUNDS[-1]: 3}, 0.5) == BOUNDS[-2]


def total(series: Series) -> dict[str, int]:
    """Return the sums, without what is nothing."""
    return {name: sum(counts) for name, counts in series.counts.items() if sum(counts)}


def test_the_overview(outbox_url: str) -> None:
    """The dashboard's figures are those of the attempts that the tallies count, and the trouble is the latest."""
    row = make_mail(relay="ref:7")
    for number in range(6):
        make_attempt(row, ended_at=ago(minutes=15 + number), seconds=0.03)
    make_attempt(row, ended_at=ago(minutes=12), disposition="refused", phase="rcpt", accepted=0, reply="550 no")
    make_attempt(row, ended_at=ago(seconds=20))
    make_attempt(row, ended_at=ago(days=3), disposition="deferred", phase="connect", accepted=0)
    sweep()
    found = figures.overview()
    assert total(found.day) == {"accepted": 6, "refused": 1}
    assert total(found.month) == {"accepted": 6, "refused": 1, "deferred": 1}
    assert found.accepted_per_minute == 1
    [relay] = [each for each in found.relays if each.now.name == "ref:7"]
    assert (relay.attempts, relay.accepted) == (7, 6)
    assert relay.median is not None
    assert 0.025 <= relay.median <= 0.05
    assert [(each.phase, each.disposition, each.attempts) for each in relay.failures] == [("rcpt", "refused", 1)]
    assert [each.disposition for each in found.trouble] == ["deferred", "refused"]
    assert len(found.day.times) == len(found.day.counts["accepted"])
    assert found.day.times[-1] <= timezone.now().timestamp() < found.day.times[-1] + found.day.step + SLICE


def test_a_paused_relay_is_left_alone(relay: ScriptedServer) -> None:
    """Paused, no worker asks it, whatever another one found out; resumed, its mail goes, and none too early."""
    mail().send()
    later = timezone.now() + timedelta(hours=5)
    early = enqueue(mail(), send_after=later)
    operating.pause_relay("default")
    assert run_batch().claimed == 0
    assert not troubles.is_over("default", database())
    assert relay.accepted == []
    assert OutboxRelay.objects.get().trouble == "paused"
    assert selectors.health().findings == []
    OutboxRelay.objects.update(since=ago(hours=1))
    assert [each.code for each in selectors.health().problems] == ["relay-paused"]
    assert operating.resume_relay("default")
    assert run_batch().claimed == 1
    early.refresh_from_db()
    assert early.next_attempt_at == later
    assert OutboxMessage.objects.get(state="accepted").retries == 0


def test_a_pause_ends_by_itself(relay: ScriptedServer) -> None:
    """When its time has come the relay is asked again, and its answer ends the pause."""
    mail().send()
    operating.pause_relay("default", until=timezone.now() + timedelta(hours=1))
    assert run_batch().claimed == 0
    make_due()
    assert run_batch().claimed == 1
    assert not OutboxRelay.objects.exists()

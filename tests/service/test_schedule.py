"""The retry strategy of the two tasks, as the brief has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from authentication.verification.schedule import MAIL_RETRIES, mail_retries
from authentication.verification.tasks import send_password_reset_email, send_verification_email

if TYPE_CHECKING:
    from pytest_django import Settings

dice = st.floats(0, 1, exclude_max=True)


def test_five_retries_after_these_seconds() -> None:
    """Without luck the waits are 60, 120, 240, 300 and 300 seconds, and there is no sixth retry."""
    assert [MAIL_RETRIES.delay(retry, lambda: 0.0) for retry in range(6)] == [60, 120, 240, 300, 300, None]


@given(dice)
def test_the_first_retry_has_no_jitter(rolled: float) -> None:
    """Whatever the dice say, the first retry comes after 60 seconds."""
    assert MAIL_RETRIES.delay(0, lambda: rolled) == 60


@given(st.integers(1, 4), dice)
def test_jitter_adds_at_most_a_quarter(retry: int, rolled: float) -> None:
    """Every other retry comes no earlier than planned and at most a quarter later."""
    planned = MAIL_RETRIES.delays[retry]
    delay = MAIL_RETRIES.delay(retry, lambda: rolled)
    assert delay is not None
    assert planned <= delay <= planned * 1.25


@given(st.integers(1, 4), dice, dice)
def test_jitter_spreads(retry: int, one: float, other: float) -> None:
    """Mails that failed together come back apart: different dice give different waits."""
    waits = {MAIL_RETRIES.delay(retry, lambda: one), MAIL_RETRIES.delay(retry, lambda: other)}
    assert len(waits) == (1 if abs(one - other) < 1e-12 else 2)


def test_one_setting_shortens_the_whole_schedule(settings: Settings) -> None:
    """EMAIL_TASK_RETRY_SCALE multiplies every wait."""
    settings.EMAIL_TASK_RETRY_SCALE = 0.05
    assert [mail_retries().delay(retry, lambda: 0.0) for retry in range(5)] == [3, 6, 12, 15, 15]


def test_both_tasks_have_the_briefs_names_and_options() -> None:
    """Names, five retries, late acknowledgement, and a lost worker's task goes back to the queue."""
    names = [task.name for task in (send_verification_email, send_password_reset_email)]
    assert names == [
        "authentication.verification.send_verification_email",
        "authentication.verification.send_password_reset_email",
    ]
    for task in (send_verification_email, send_password_reset_email):
        assert (task.max_retries, task.acks_late, task.reject_on_worker_lost) == (5, True, True)

"""``make demo`` itself: it succeeds, in time, and it can fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def test_the_demo_succeeds_in_under_a_minute() -> None:
    """It ends by itself with 0 and shows faults, mail, attempts and the verdict."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begin < 60
    assert "The mail arrived once: not lost, not doubled" in done.stdout
    assert "Every mail arrived once: none lost, none doubled" in done.stdout
    assert "EMAIL_TASK_RETRY_SCALE" in done.stdout
    assert "SMTP connection error on attempt 1/3" in done.stdout
    assert "Confirm your e-mail address" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("spoil", "copies"),
    [
        ("Fault(At.RCPT, Reply('550 5.1.1 never'))", 0),
        ("Fault(At.FINAL, TakeThenClose(), times=1)", 2),
    ],
    ids=["lost", "doubled"],
)
def test_the_demo_fails_where_the_mail_is_lost_or_doubled(spoil: str, copies: int) -> None:
    """With a relay that refuses, or that takes the mail without saying so, the exit code is 1."""
    program = (
        "import dataclasses, sys, demo.__main__ as main\n"
        "from robust_email.testing import *\n"
        f"faults = [*main.RELAY_SCRIPT.faults, {spoil}]\n"
        "main.RELAY_SCRIPT = dataclasses.replace(main.RELAY_SCRIPT, faults=faults)\n"
        "sys.exit(main.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"The server took the mail {copies} times" in done.stdout


def test_run_stays_until_it_is_asked_to_end(tmp_path: Path) -> None:
    """``make run`` prints where everything is, and a SIGTERM ends it with 0 and leaves no process."""
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo", "--stay"],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + 40
    while "Ctrl-C" not in (text := output.read_text()) or "Mail catcher:" not in text:
        assert time.monotonic() < deadline, text
        assert process.poll() is None, text
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, output.read_text()
    assert "stopped" in output.read_text()

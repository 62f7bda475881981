"""The smaller parts of the testing kit: clock, plugin, command line, and what its docstring promises."""

from __future__ import annotations

import doctest
import re
import smtplib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import robust_email.testing
from robust_email.testing import At, Fault, Reply
from robust_email.testing.__main__ import main
from robust_email.testing.clock import FakeClock
from tests.testing.dialogue import connected

if TYPE_CHECKING:
    from robust_email.testing.pytest_plugin import ServerFactory


def test_a_fake_clock_moves_when_told() -> None:
    """Time passes by advance and sleep, never by itself and never back."""
    clock = FakeClock(5.0)
    clock.advance(1.5)
    clock.sleep(2)
    assert clock() == 8.5
    assert clock.slept == (2.0,)
    with pytest.raises(ValueError, match="go back"):
        clock.sleep(-1)
    assert clock() == 8.5


def test_the_factory_makes_servers_of_its_own(smtp_faults: ServerFactory) -> None:
    """Each call starts a server with its own faults and fields."""
    first = smtp_faults(Fault(At.GREETING, Reply("554 5.3.2 no")))
    second = smtp_faults(host_name="second.test")
    with connected(first) as wire:
        assert wire.reply() == b"554 5.3.2 no\r\n"
    with connected(second) as wire:
        assert wire.reply() == b"220 second.test ESMTP ready\r\n"


def test_the_example_in_the_docstring_runs() -> None:
    """The first thing a reader tries works as printed."""
    result = doctest.testmod(robust_email.testing)
    assert result.attempted >= 4
    assert result.failed == 0


def test_the_mail_catcher_shows_what_it_accepted() -> None:
    """One line per accepted message, control characters made harmless, and an end when enough came."""
    command = [sys.executable, "-m", "robust_email.testing", "--port", "0", "--messages", "1", "--user", "u:p"]
    command += ["--faults", "RCPT*1=451 4.7.1 later"]
    environment = {"PYTHONPATH": str(Path(robust_email.testing.__file__).parents[2]), "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment) as process:
        assert process.stdout is not None
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        with smtplib.SMTP("127.0.0.1", int(found[1])) as client:
            client.login("u", "p")
            content = b"Subject: =?utf-8?q?h=C3=A9=1B[2J?=\r\n\r\nx\r\n"
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail("a@example.org", ["b@example.org"], content)
            client.sendmail("a@example.org", ["b@example.org"], content)
        line = process.stdout.readline()
    assert process.returncode == 0
    assert re.search(r"1  a@example\.org -> b@example\.org  hé\?\[2J  \d+ octets", line)


def test_the_mail_catcher_explains_a_bad_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault that is none ends the command with code 2 and what is possible."""
    assert main(["--fault", "RCPT=what"]) == 2
    assert "an action is one of close" in capsys.readouterr().err


def test_the_kit_leans_on_nothing_of_the_library() -> None:
    """Importing the kit loads neither Django nor the engine nor pytest nor trustme."""
    program = "import sys, robust_email.testing.proxy, robust_email.testing.clock; print(*sys.modules)"
    environment = {"PYTHONPATH": str(Path(robust_email.testing.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    loaded = set(done.stdout.split())
    assert not {"django", "celery", "pytest", "trustme", "robust_email.smtp"} & loaded

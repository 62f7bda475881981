"""The brief's own tests, word for word, in a shell of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest

if TYPE_CHECKING:
    from robust_email.testing import ScriptedServer

ROOT = Path(__file__).parents[2]

TEST_1 = """\
from django.core.mail import get_connection
conn = get_connection()
print(type(conn).__name__)  # Should print: RobustSMTPEmailBackend
"""
TEST_2 = """\
from django.core.mail import send_mail
send_mail(
    'Test Subject',
    'Test message',
    'from@example.com',
    ['to@example.com'],
)
"""


def shell(typed: str, tmp_path: Path, **environment: str) -> str:
    """Type into ``python manage.py shell``; warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "shell"],
        cwd=ROOT,
        env={**os.environ, "ENV_FILE": str(tmp_path / "no.env"), "DATA_FOLDER": str(tmp_path), **environment},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(django.VERSION >= (6, 1), reason="6.1 deprecates get_connection(); its words are mail.mailers")
def test_1_verify_configuration(tmp_path: Path) -> None:
    """``get_connection()`` is a RobustSMTPEmailBackend."""
    assert "RobustSMTPEmailBackend" in shell(TEST_1, tmp_path).splitlines()


def test_2_send_test_email(tmp_path: Path, smtp_server: ScriptedServer) -> None:
    """``send_mail()`` hands the mail over, and the log says how the session was had."""
    output = shell(TEST_2, tmp_path, EMAIL_HOST=smtp_server.host, EMAIL_PORT=str(smtp_server.port))
    (message,) = smtp_server.accepted
    assert (message.reverse_path, message.forward_paths) == ("from@example.com", ("to@example.com",))
    assert b"Subject: Test Subject\r\n" in message.data
    assert message.data.endswith(b"\r\n\r\nTest message\r\n")
    assert "SMTP connection established successfully on attempt 1" in output


def test_a_connection_error_reads_as_in_the_brief(tmp_path: Path) -> None:
    """The retry's lines carry the attempt's number and how many there are."""
    typed = TEST_2.replace("send_mail(\n", "try: send_mail(\n").replace(
        "\n)\n", "\n)\nexcept OSError as e: print(type(e).__name__)\n"
    )
    output = shell(typed, tmp_path, EMAIL_HOST="127.0.0.1", EMAIL_PORT="1", EMAIL_CONNECTION_RETRY_DELAY="0")
    assert "SMTP connection error on attempt 1/3: " in output
    assert "SMTP connection error on attempt 3/3: " in output
    assert "ConnectionRefused" in output


def test_3_monitor_celery_logs() -> None:
    """``docker logs celery-1 -f`` is the worker's log: the container has that name, and logs at INFO."""
    compose = (ROOT / "compose.yaml").read_text()
    assert "container_name: celery-1" in compose
    assert "worker, --loglevel=INFO" in compose
    # What it shows (`SMTP connection established successfully`, the retries, `succeeded in`) is tested with a real
    # worker in test_worker.py.

"""``python -m robust_email doctor``, as a process: arguments, password, exit codes, output, and no Django."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from robust_email.testing import Script, ScriptedServer

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority

ROOT = Path(__file__).parents[2]
PASSWORD = "hunter2-canary"

WITHOUT_FRAMEWORKS = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name + " is blocked by this test", name=name)
sys.meta_path.insert(0, Blocked())
sys.argv[0] = "doctor"
runpy.run_module("robust_email", run_name="__main__")
"""


def doctor(
    *arguments: str, password: str | None = None, blocked: tuple[str, ...] = ("django", "celery")
) -> subprocess.CompletedProcess[str]:
    """Run the command where these packages are missing."""
    environment = {name: value for name, value in os.environ.items() if name != "EMAIL_HOST_PASSWORD"}
    environment["PYTHONPATH"] = str(ROOT / "src")
    if password is not None:
        environment["EMAIL_HOST_PASSWORD"] = password
    command = [sys.executable, "-c", WITHOUT_FRAMEWORKS.format(blocked=blocked), "doctor", *arguments]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_relay_by_its_url(smtp_certs: CertificateAuthority) -> None:
    """STARTTLS, the password from the environment, JSON on standard output: exit code 0 without Django."""
    script = Script(starttls=smtp_certs.server_context(), accounts={"shop": PASSWORD}, require_auth=True)
    with ScriptedServer(script) as server:
        url = f"smtp+starttls://shop@localhost:{server.port}"
        done = doctor(url, "--json", "--quick", "--cafile", str(smtp_certs.ca_file), password=PASSWORD)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["endpoint"] == f"localhost:{server.port}"
    assert "auth" in [finding["code"] for part in report["probes"] for finding in part["findings"]]
    assert PASSWORD not in done.stdout + done.stderr


def test_plain_text_where_rich_is_missing(smtp_server: ScriptedServer) -> None:
    """Neither rich nor dnspython is needed."""
    url = f"smtp://{smtp_server.host}:{smtp_server.port}"
    done = doctor(url, "--from", "a@shop.example.com", blocked=("django", "rich", "dns"))
    assert done.returncode == 0, done.stderr
    assert "[ok] Greeting" in done.stdout
    assert "django-robust-email[dns]" in done.stdout


@pytest.mark.parametrize(("password", "expected"), [(None, "login-half-configured"), (PASSWORD, "password-in-url")])
def test_the_password_belongs_elsewhere(password: str | None, expected: str, smtp_server: ScriptedServer) -> None:
    """None at all, or one in the URL, is a warning; the URL is not repeated."""
    user = f"shop:{password}" if password else "shop"
    done = doctor(f"smtp://{user}@127.0.0.1:{smtp_server.port}", "--quick")
    assert f"[{expected}]" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


def test_an_error_is_exit_code_2(closed_port: int) -> None:
    """Whatever is wrong, the report is complete and there is no traceback."""
    done = doctor(f"smtps://127.0.0.1:{closed_port}", "--timeout", "2")
    assert done.returncode == 2
    assert "[tcp-refused]" in done.stdout or "[host-is-this-container]" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("mail.example.com",),
        ("smtp://u:canary@host:0",),
        ("smtp://host", "--timeout", "-1"),
        ("smtp://host", "--timeout", "soon"),
        ("smtp://host", "--unknown"),
    ],
    ids=["nothing", "no scheme", "port 0", "negative", "not a number", "unknown option"],
)
def test_a_wrong_call_is_exit_code_64(arguments: tuple[str, ...]) -> None:
    """Apart from what findings have, with one line that says what is wrong and repeats no URL."""
    done = doctor(*arguments)
    assert done.returncode == 64, done
    assert done.stdout == ""
    assert done.stderr.startswith("python -m robust_email doctor: ")
    assert len(done.stderr.splitlines()) == 1
    assert "canary" not in done.stderr


def test_without_a_command_there_is_usage() -> None:
    """``python -m robust_email`` says how it is called."""
    done = subprocess.run(
        [sys.executable, "-m", "robust_email"], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 64
    assert "doctor URL" in done.stderr


def test_a_terminal_gets_colours_as_it_goes(smtp_server: ScriptedServer) -> None:
    """On a real terminal rich writes; the report ends with the diagnosis."""
    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "robust_email", "doctor", f"smtp://127.0.0.1:{smtp_server.port}", "--quick"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = bytearray()
        with contextlib.suppress(OSError):  # Linux says EIO where the other end is closed
            while octets := os.read(ours, 65_536):
                shown += octets
        os.close(ours)
    text = shown.decode()
    assert process.returncode == 0, text
    assert "Diagnosis" in text
    assert "\x1b[" in text
    assert "✔" in text

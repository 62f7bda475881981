"""A nameserver that never answers, for real: the C library's own resolver, in a network namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services import require_program, unavailable

SOURCES = Path(__file__).parents[2] / "src"

PROBE = """
import json, socket, sys, time
sys.path.insert(0, sys.argv[1])
from robust_email.smtp.config import SmtpConfig, Timeouts
from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.net.connector import Connector
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.resolver import Resolver

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))
connector = Connector(SmtpConfig("mx.example.test", timeouts=Timeouts(dns=1.0)), resolver=Resolver())
found = []
for _ in range(3):
    began = time.monotonic()
    try:
        connector.connect(Deadline.after(30.0))
    except SessionFailure as error:
        found.append([time.monotonic() - began, error.failure.kind.value, error.failure.phase.value])
silent.settimeout(5.0)
question = silent.recv(512)
print(json.dumps({"attempts": found, "asked": b"example" in question, "ended": time.time()}))
"""


@pytest.fixture
def dead_dns(tmp_path: Path) -> list[str]:
    """Give the start of a command that runs where the only nameserver is 127.0.0.1, and the network is empty."""
    unshare = require_program("Network namespaces", "unshare")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files dns\n")
    (tmp_path / "enter").write_text(
        "set -e\nip link set lo up\n"
        f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf\n"
        f"if [ -e /etc/nsswitch.conf ]; then mount --bind {tmp_path}/nsswitch.conf /etc/nsswitch.conf; fi\n"
        'exec "$@"\n'
    )
    command = [unshare, "--map-root-user", "--net", "--mount", "sh", str(tmp_path / "enter")]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False, timeout=30)
    if tried.returncode:
        unavailable("Network namespaces", tried.stderr.strip())
    return command


def test_a_silent_nameserver_costs_the_dns_time_out(dead_dns: list[str]) -> None:
    """``getaddrinfo`` itself would take 10 s; each attempt ends after 1 s, and so does the process after the last."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [*dead_dns, sys.executable, "-c", PROBE, str(SOURCES)]
    probe = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**environment, "RES_OPTIONS": ""}
    )
    ended = time.time()
    assert probe.returncode == 0, probe.stderr
    found = json.loads(probe.stdout)
    assert ended - found["ended"] < 3.0, "the lookup that was left behind held up the end of the process"
    assert found["asked"], "the question never reached the silent nameserver"
    for seconds, kind, phase in found["attempts"]:
        assert (kind, phase) == ("timeout", "resolve")
        assert 1.0 <= seconds < 1.2
    assert len(found["attempts"]) == 3

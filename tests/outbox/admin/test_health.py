"""``outbox_status``, the health view and ``email_doctor --quick`` say the same."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone

from robust_email.outbox.models import OutboxRelay
from robust_email.outbox.states import State
from tests.outbox.admin.conftest import make_mail

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
    from pytest_django import Settings

    from robust_email.testing import ScriptedServer
    from tests.outbox.admin.conftest import LogIn

pytestmark = pytest.mark.django_db


def nothing() -> None:
    """Leave all well."""


def overdue() -> None:
    """Let a mail have been due for an hour."""
    make_mail(next_attempt_at=timezone.now() - timedelta(hours=1))


def lapsed() -> None:
    """Let a worker have died an hour ago."""
    make_mail(State.CLAIMED, lease_until=timezone.now() - timedelta(hours=1))


def in_trouble(trouble: str) -> None:
    """Let the relay be in trouble for an hour."""
    since = timezone.now() - timedelta(hours=1)
    OutboxRelay.objects.create(
        name="default", trouble=trouble, since=since, ask_again_at=timezone.now(), reason="535 no"
    )


def run(command: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command with ``--json``; return its exit code and what it printed."""
    out = io.StringIO()
    code: object = 0
    try:
        call_command(command, "--json", *arguments, stdout=out)
    except SystemExit as exc:
        code = exc.code
    assert isinstance(code, int)
    return code, json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("world", "code"),
    [
        (nothing, None),
        (overdue, "overdue"),
        (lapsed, "lapsed"),
        (lambda: in_trouble("misconfigured"), "relay-misconfigured"),
        (lambda: in_trouble("paused"), "relay-paused"),
        (lambda: in_trouble("down"), None),
    ],
)
def test_all_three_agree(
    world: Callable[[], None], code: str | None, client: Client, settings: Settings, smtp_server: ScriptedServer
) -> None:
    """Whatever is wrong, all of them fail for it, and none without it."""
    settings.EMAIL_BACKEND = "robust_email.outbox.backend.OutboxEmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = smtp_server.host, smtp_server.port
    settings.DEFAULT_FROM_EMAIL = "shop@example.org"
    world()
    exit_code, status = run("outbox_status")
    answer = client.get("/health/outbox/")
    doctor_code, report = run("email_doctor", "--quick")
    said = [each["code"] for probe in report["probes"] for each in probe["findings"]]
    assert answer.json()["problems"] == ([code] if code else [])
    assert answer.status_code == (503 if code else 200)
    assert exit_code == (1 if code else 0)
    assert len(status["findings"]) == exit_code
    assert [each for each in said if each.startswith("outbox.")] == ([f"outbox.{code}"] if code else [])
    assert (doctor_code == 2) is bool(code)


def test_strangers_see_codes_alone(client: Client, log_in: LogIn) -> None:
    """A relay's words and the figures are for who may see mails."""
    in_trouble("misconfigured")
    answer = client.get("/health/outbox/")
    assert answer.json() == {"status": "failing", "problems": ["relay-misconfigured"]}
    assert "no-store" in answer["Cache-Control"]
    assert log_in("view_outboxmessage").get("/health/outbox/").json()["relays"][0]["reason"] == "535 no"
    assert client.post("/health/outbox/").status_code == 405


def test_a_database_that_is_away_is_no_crash(client: Client) -> None:
    """Then the view says that nothing is known, and fails."""
    with patch("robust_email.outbox.selectors.database_now", side_effect=OperationalError("server closed")):
        answer = client.get("/health/outbox/")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing", "problems": ["unknown"]})

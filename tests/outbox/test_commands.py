"""The management commands, as cron and operators call them."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.utils import timezone

from robust_email.outbox import enqueue, selectors
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage, OutboxRelay
from robust_email.outbox.services import claims
from robust_email.testing import At, Fault, Reply, TakeThenClose

if TYPE_CHECKING:
    from pytest_django import Settings

    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["sqlite", "postgres", "mariadb"], indirect=True)


def run(*arguments: str) -> str:
    """Call a command and return what it prints."""
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=out)
    return out.getvalue()


def some(count: int, **options: Any) -> list[OutboxMessage]:  # noqa: ANN401 - enqueue's
    """Enqueue mails."""
    return [
        enqueue(EmailMessage("hi", "", "shop@example.org", [f"user{n}@example.net"]), **options) for n in range(count)
    ]


def test_drain_until_empty(outbox_url: str, relay: ScriptedServer) -> None:
    """Batches follow each other until nothing is due; one JSON line for each step."""
    some(25)
    lines = [json.loads(line) for line in run("outbox_drain", "--until-empty", "--batch", "10", "--json").splitlines()]
    assert [line["claimed"] for line in lines if line["step"] == "batch"] == [10, 10, 5]
    assert lines[-1] == {"step": "end", "claimed": 25, "released": 0, "states": {"accepted": 25}}
    assert len(relay.accepted) == 25


def test_drain_once(outbox_url: str, relay: ScriptedServer) -> None:
    """Without --until-empty it is one batch, and words for people."""
    some(5)
    assert run("outbox_drain", "--batch", "3") == "3 mails taken: 3 accepted.\n"
    assert run("outbox_drain") == "2 mails taken: 2 accepted.\n"
    assert run("outbox_drain") == "0 mails taken: nothing was due.\n"


def test_drain_ends_after_its_time(outbox_url: str, relay: ScriptedServer) -> None:
    """With --max-seconds nothing new is begun after that."""
    some(5)
    assert run("outbox_drain", "--until-empty", "--max-seconds", "0").startswith("0 mails taken")


def test_drain_sweeps_first(outbox_url: str, relay: ScriptedServer) -> None:
    """What a dead worker held is taken back and handed over by the next drain."""
    some(2)
    claims.claim(10)
    OutboxMessage.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert run("outbox_drain", "--until-empty", "--json").count('"sweep"') == 1
    assert len(relay.accepted) == 2


def test_status_counts(outbox_url: str, relay: ScriptedServer) -> None:
    """What waits, what has ended badly, and each relay; the accepted are not counted."""
    relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 no"), subject="user1@"))
    some(3)
    run_batch()
    some(2, send_after=timezone.now() + timedelta(hours=1))
    health = json.loads(run("outbox_status", "--json"))
    assert (health["queued"], health["due"], health["under_way"], health["ended"]["refused"]) == (2, 0, 0, 1)
    [shown] = health["relays"]
    assert (shown["name"], shown["waiting"], shown["overdue"], shown["trouble"]) == ("default", 2, 0.0, "")
    assert "queued            2" in run("outbox_status")


def test_status_fails_when_a_loop_stopped(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """A mail that is overdue for too long makes the exit code 1: somebody's worker does not run."""
    some(1)
    OutboxMessage.objects.update(next_attempt_at=timezone.now() - timedelta(hours=1))
    with pytest.raises(SystemExit, match="1"):
        run("outbox_status")
    assert run("outbox_status", "--max-overdue", "7200")


def test_status_fails_when_nobody_sweeps(outbox_url: str, relay: ScriptedServer) -> None:
    """Mails that dead workers still hold are a finding."""
    some(1)
    claims.claim(1)
    OutboxMessage.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    assert selectors.health().lapsed == 1
    with pytest.raises(SystemExit):
        run("outbox_status")


def test_status_fails_beyond_a_limit(outbox_url: str, relay: ScriptedServer) -> None:
    """Mails in doubt, or dead, beyond a limit that was given are a finding."""
    relay.add_fault(Fault(At.FINAL, TakeThenClose(), times=1))
    some(1, in_doubt="hold")
    run_batch()
    assert run("outbox_status", "--max-in-doubt", "1")
    with pytest.raises(SystemExit):
        run("outbox_status", "--max-in-doubt", "0")


def test_resolve_and_cancel_and_requeue(outbox_url: str, relay: ScriptedServer) -> None:
    """A doubt is decided, a waiting mail withdrawn, a cancelled one queued again."""
    relay.add_fault(Fault(At.FINAL, TakeThenClose(), times=1))
    [doubtful] = some(1, in_doubt="hold")
    run_batch()
    assert run("outbox_resolve", "--accepted", str(doubtful.pk)) == f"{doubtful.pk} accepted\n"
    [waiting] = some(1)
    assert run("outbox_cancel", str(waiting.pk)) == f"{waiting.pk} cancelled\n"
    with pytest.raises(CommandError, match="1 mails were not cancelled"):
        run("outbox_cancel", str(waiting.pk))
    assert run("outbox_requeue", str(waiting.pk)) == f"{waiting.pk} queued\n"
    run_batch()
    assert len(relay.accepted) == 2
    with pytest.raises(CommandError, match="not queued"):
        run("outbox_requeue", str(waiting.pk))


def test_requeue_the_dead_and_resume_a_relay(outbox_url: str, relay: ScriptedServer) -> None:
    """All dead mails of a kind are queued again; a relay in trouble is asked at once."""
    rows = [*some(2, kind="code"), *some(1, kind="news")]
    now = timezone.now()
    OutboxMessage.objects.update(state="dead", next_attempt_at=None, finished_at=now)
    OutboxRelay.objects.create(name="default", trouble="down", since=now, ask_again_at=now + timedelta(hours=1))
    assert run("outbox_requeue", "--dead", "--kind", "code").count("queued") == 2
    assert run_batch().claimed == 0
    assert "relay default is asked again" in run("outbox_requeue", "--all-relays")
    assert run_batch().claimed == 2
    assert OutboxMessage.objects.get(pk=rows[2].pk).state == "dead"


def test_purge(outbox_url: str, relay: ScriptedServer) -> None:
    """What is old enough goes; a dry run only counts."""
    some(2)
    run_batch()
    OutboxMessage.objects.update(finished_at=timezone.now() - timedelta(days=31))
    assert "2 would be removed" in run("outbox_purge", "--dry-run")
    assert OutboxMessage.objects.count() == 2
    run("outbox_purge")
    assert OutboxMessage.objects.count() == 0

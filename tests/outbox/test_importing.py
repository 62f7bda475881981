"""Mail that waits in the real django-post_office and django-mailer is moved once, whole, and nothing else is."""

from __future__ import annotations

import email
import email.policy
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail.message import EmailAlternative
from django.core.management import CommandError, call_command

if TYPE_CHECKING:
    from robust_email.testing import ScriptedServer
    from robust_email.testing.ledger import AcceptedMessage

WORLD = Path(__file__).with_name("importing_world.py")


def import_from(source: str, folder: Path, server: ScriptedServer) -> dict[str, Any]:
    """Run the whole story in a project of its own; give what each step left."""
    command = [sys.executable, str(WORLD), str(folder), str(server.port), source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_subject(server: ScriptedServer) -> dict[str, AcceptedMessage]:
    """Give what the relay has taken."""
    return {str(parsed(message)["Subject"]): message for message in server.accepted}


def parsed(message: AcceptedMessage) -> email.message.EmailMessage:
    """Read the octets."""
    return email.message_from_bytes(message.data, policy=email.policy.default)


def test_post_office(tmp_path: Path, smtp_server: ScriptedServer) -> None:
    """Templates, attachments, Bcc, priorities and times come along; what was sent, or is another relay's, stays."""
    world = import_from("post_office", tmp_path, smtp_server)
    dry, moved, again = world["dry"], world["moved"], world["again"]
    assert dry["rows"] == 0
    assert dry["waiting"] == sorted(["plain", "", "rich", "later", "other relay", "expired", "bad"])
    assert dry["out"].startswith("4 of 6 waiting mails would be moved")
    assert "stays: it has expired" in dry["err"]
    assert dry["failed"] == moved["failed"] == "2 mails stay where they are."
    assert dry["err"] == moved["err"]
    assert "example.net" not in dry["err"]
    assert moved["out"] == "4 of 6 waiting mails moved\n"
    assert moved["rows"] == again["rows"] == 4
    assert moved["waiting"] == again["waiting"] == ["bad", "expired", "other relay"]
    assert again["out"] == "0 of 2 waiting mails moved\n"
    assert len(moved["logs"]) == 4
    assert all(line.startswith("Moved to the outbox as ") for line in moved["logs"])
    taken = by_subject(smtp_server)
    assert set(taken) == {"plain", "Order 7", "rich"}
    rich = parsed(taken["rich"])
    assert taken["rich"].forward_paths == ("bob@example.net", "cat@example.net", "dan@example.net")
    assert (rich["X-Shop"], rich["Bcc"], rich["Cc"]) == ("1", None, "cat@example.net")
    assert [part.get_filename() for part in rich.iter_attachments()] == ["prices.txt"]
    assert parsed(taken["Order 7"]).get_content().strip() == "Thanks, Ann"
    rows = {row["dedupe_key"]: row for row in world["outbox"]}
    assert {row["kind"] for row in rows.values()} == {"moved"}
    assert sorted(row["priority"] for row in rows.values()) == [1, 2, 2, 3]
    assert [row["state"] for row in rows.values() if row["send_after"]] == ["queued"]


@pytest.mark.skipif(
    EmailAlternative.__name__ != "EmailAlternative", reason="Django 5.2.0 cannot pickle alternatives, so nor can mailer"
)
def test_django_mailer(tmp_path: Path, smtp_server: ScriptedServer) -> None:
    """Pickled messages become rows, deferred ones too; one that is no pickle is named and stays."""
    world = import_from("django_mailer", tmp_path, smtp_server)
    dry, moved, again = world["dry"], world["moved"], world["again"]
    assert (dry["rows"], dry["waiting"], dry["logs"]) == (0, 4, [])
    assert dry["out"].startswith("3 of 4 waiting mails would be moved")
    assert "cannot be unpickled" in dry["err"]
    assert moved["out"] == "3 of 4 waiting mails moved\n"
    assert (moved["rows"], moved["waiting"]) == (again["rows"], again["waiting"]) == (3, 1)
    assert len(moved["logs"]) == 3
    taken = by_subject(smtp_server)
    assert next(str(parsed(each)["Subject"]) for each in smtp_server.accepted) == "urgent"
    assert set(taken) == {"urgent", "medium", "deferred"}
    assert taken["medium"].forward_paths == ("ann@example.net", "dan@example.net")
    assert parsed(taken["medium"])["X-Shop"] == "1"
    assert "<p>html</p>" in taken["medium"].data.decode()


@pytest.mark.parametrize(("source", "app"), [("post_office", "post_office"), ("django_mailer", "mailer")])
def test_a_package_that_is_not_there(source: str, app: str) -> None:
    """Without the other app there is nothing to read, and the command says which one is missing."""
    with pytest.raises(CommandError, match=f"'{app}' is not among INSTALLED_APPS"):
        call_command("outbox_import", "--from", source)

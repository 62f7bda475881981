"""The brief's rollback instructions, word for word: back on Django's own SMTP backend, the tasks go on."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from celery import shared_task

from authentication.verification.tasks import MAIL_TASK, MailNotAccepted, _hand_over, send_verification_email
from robust_email.outbox.states import State
from robust_email.testing import At, Close, Fault, Reply, ScriptedServer
from tests.service.conftest import point_at

if TYPE_CHECKING:
    from celery import Task
    from pytest_django import Settings

    from robust_email.outbox.models import OutboxMessage

Relay = Callable[..., ScriptedServer]
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.django_db(transaction=True)

INSTRUCTION_1 = "EMAIL_BACKEND = 'django.core.mail.backends.smtp.EmailBackend'"
INSTRUCTION_2 = "retry_kwargs={'max_retries': 3}"


@pytest.fixture
def rolled_back(relay: Relay, settings: Settings) -> Relay:
    """Give the relay factory, with the one line of the rollback instructions in the settings."""

    def start(*faults: Fault, **fields: object) -> ScriptedServer:
        server = relay(*faults, **fields)
        point_at(settings, server.host, server.port, INSTRUCTION_1.split("'")[1])
        return server

    return start


def run(row: OutboxMessage) -> str:
    """Run the task to its end; return the row's state."""
    with contextlib.suppress(MailNotAccepted):
        send_verification_email.apply(args=(str(row.pk),)).get()
    row.refresh_from_db()
    return row.state


@pytest.mark.skipif(django.VERSION >= (6, 1), reason="from 6.1 on the service is configured by MAILERS")
def test_the_first_instruction_in_settings_py_changes_every_mail(tmp_path: Path) -> None:
    """With that line in the file, get_connection() and the outbox's hand-over are Django's own."""
    source = (ROOT / "e_commerce_api" / "settings.py").read_text()
    changed, count = re.subn(r"^    EMAIL_BACKEND = .*$", f"    {INSTRUCTION_1}", source, flags=re.MULTILINE)
    assert count == 1
    (tmp_path / "rolled_back.py").write_text(changed)
    program = (
        "import django; django.setup()\n"
        "from django.core.mail import get_connection\n"
        "from robust_email.outbox.relays import backend_for, project_relay\n"
        "for backend in (get_connection(), backend_for(project_relay())): print(type(backend).__module__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
            "DJANGO_SETTINGS_MODULE": "rolled_back",
            "ENV_FILE": str(tmp_path / "no.env"),
            "DATA_FOLDER": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["django.core.mail.backends.smtp"] * 2, done.stderr


def test_the_second_instruction_bounds_the_tasks_retries(mail: OutboxMessage, rolled_back: Relay) -> None:
    """With ``retry_kwargs={'max_retries': 3}`` a task tries four times; the row waits for the sweep all the same."""
    options: dict[str, Any] = eval(f"dict({INSTRUCTION_2})")["retry_kwargs"]  # noqa: S307 - the brief's own words

    @shared_task(name="tests.rolled_back", **{**MAIL_TASK, **options})
    def task(self: Task[Any, Any], pk: str) -> dict[str, object]:
        return _hand_over(self, pk)

    rolled_back(Fault(At.RCPT, Reply("451 4.7.1 later")))
    with pytest.raises(MailNotAccepted):
        task.apply(args=(str(mail.pk),)).get()
    mail.refresh_from_db()
    assert (mail.state, mail.attempts) == (State.QUEUED, 4)


def test_the_task_still_succeeds(mail: OutboxMessage, rolled_back: Relay) -> None:
    """An accepted mail is accepted, the same octets under the same Message-ID."""
    server = rolled_back()
    octets = bytes(mail.content or b"")
    assert run(mail) == State.ACCEPTED
    assert [message.data for message in server.accepted] == [octets]


@pytest.mark.parametrize("at", [At.MAIL, At.RCPT, At.BEFORE_FINAL])
@pytest.mark.parametrize(("reply", "state"), [("451 4.7.1 later", State.DEAD), ("550 5.7.1 never", State.REFUSED)])
def test_replies_are_told_apart_by_their_code(
    mail: OutboxMessage, rolled_back: Relay, at: At, reply: str, state: State
) -> None:
    """4yz is retried until the schedule is used up, 5yz is not."""
    rolled_back(Fault(at, Reply(reply)))
    assert run(mail) == state
    assert mail.attempts == (6 if state is State.DEAD else 1)


def test_a_lost_connection_is_in_doubt(mail: OutboxMessage, rolled_back: Relay) -> None:
    """Django does not say whether the message had left, so nobody can know."""
    rolled_back(Fault(At.BEFORE_FINAL, Close(), times=1))
    assert run(mail) == State.ACCEPTED
    assert mail.doubts == 1

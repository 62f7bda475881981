"""Telling a worker: never an error, never a wait, not after a rollback."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

import pytest
from django.core.mail import EmailMessage, send_mail
from django.db import transaction
from django.utils import timezone

from robust_email.outbox import enqueue, wakeup
from robust_email.outbox.database import database
from robust_email.outbox.models import OutboxMessage, Priority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from pytest_django import Settings

    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)


class Noting:
    """A wake-up that notes whom it was told of, or raises."""

    bounded = True
    told: ClassVar[list[UUID]] = []
    error: ClassVar[Exception | None] = None

    def notify(self, pks: Sequence[UUID]) -> None:
        """Note, or raise."""
        if self.error is not None:
            raise self.error
        self.told.extend(pks)

    def notify_backlog(self) -> None:
        """Do nothing."""


class Timed(Noting):
    """One that also can tell later."""

    later: ClassVar[list[tuple[UUID, float]]] = []

    def notify_later(self, pks: Sequence[UUID], seconds: float) -> None:
        """Note that, too."""
        Timed.later += [(pk, seconds) for pk in pks]


@pytest.fixture
def noting(relay: ScriptedServer, settings: Settings) -> type[Noting]:
    """Let the project use the noting one."""
    import tests.outbox.test_wakeup as module  # the class that the dotted path names

    settings.EMAIL_OUTBOX_WAKEUP = "tests.outbox.test_wakeup.Noting"
    module.Noting.told, module.Noting.error = [], None
    return module.Noting


def message() -> None:
    """Enqueue a mail."""
    send_mail("hi", "there", "shop@example.org", ["ann@example.net"])


def test_told_when_committed(outbox_url: str, noting: type[Noting]) -> None:
    """A worker is told of a mail once it can see the row, and not of one that was rolled back."""
    with transaction.atomic(using=database()):
        message()
        assert noting.told == []
    assert noting.told == [OutboxMessage.objects.get().pk]
    with pytest.raises(RuntimeError), transaction.atomic(using=database()):
        message()
        raise RuntimeError
    assert len(noting.told) == 1


def test_not_told_before_its_time(outbox_url: str, noting: type[Noting]) -> None:
    """Of a mail that is to wait nobody is told now; the sweep is for that."""
    later = timezone.now() + timedelta(hours=1)
    enqueue(EmailMessage("hi", "", "shop@example.org", ["ann@example.net"]), send_after=later)
    assert noting.told == []


def test_told_when_its_time_comes(outbox_url: str, noting: type[Noting], settings: Settings) -> None:
    """What goes in a minute is told in a minute; what goes tomorrow, and bulk mail, is left to the sweep."""
    import tests.outbox.test_wakeup as module  # the class that the dotted path names

    settings.EMAIL_OUTBOX_WAKEUP = "tests.outbox.test_wakeup.Timed"
    module.Timed.later = []
    mail = EmailMessage("hi", "", "shop@example.org", ["ann@example.net"])
    in_a_minute, tomorrow = timezone.now() + timedelta(minutes=1), timezone.now() + timedelta(days=1)
    with transaction.atomic(using=database()):
        soon = enqueue(mail, send_after=in_a_minute)
        assert module.Timed.later == []
    enqueue(mail, send_after=tomorrow)
    enqueue(mail, send_after=in_a_minute, priority=Priority.LOW)
    [(pk, seconds)] = module.Timed.later
    assert pk == soon.pk
    assert 50 < seconds <= 60
    assert noting.told == []


def test_an_error_costs_nobody_anything(
    outbox_url: str, noting: type[Noting], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever telling raises, the mail is there, the caller goes on, and the log says so."""
    noting.error = RuntimeError("no broker")
    message()
    assert OutboxMessage.objects.count() == 1
    assert "the sweep will find it" in caplog.text


def test_a_publisher_waits_no_longer_than_its_patience(outbox_url: str) -> None:
    """Behind a broker that hangs a caller waits its patience, and the next one not at all."""
    hang, publisher = threading.Event(), wakeup.Publisher()

    def wait() -> None:
        hang.wait(30)

    try:
        began = time.monotonic()
        assert not publisher.publish(wait, patience=0.05)
        for _ in range(50):
            publisher.publish(lambda: None, patience=1.0)
        assert time.monotonic() - began < 1.5
    finally:
        hang.set()


def test_a_publisher_is_silent_after_a_failure(outbox_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """After a failure nothing is tried for a while; then it is again."""
    now, tried = 0.0, []
    publisher = wakeup.Publisher(clock=lambda: now)

    def fail() -> None:
        tried.append(now)
        raise OSError("refused")

    assert publisher.publish(fail, patience=5)
    assert not publisher.publish(fail, patience=5)
    now = wakeup.SILENCE + 1
    assert publisher.publish(lambda: tried.append(now), patience=5)
    assert tried == [0.0, wakeup.SILENCE + 1]
    assert caplog.text.count("the sweep will find it") == 1


def test_a_forked_child_has_a_thread_of_its_own(outbox_url: str) -> None:
    """After a fork the parent's thread is gone; the child's first job makes another."""
    publisher = wakeup.Publisher()
    assert publisher.publish(lambda: None, patience=5)
    child = os.fork()
    if child == 0:
        os._exit(0 if publisher.publish(lambda: None, patience=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(find_spec("django.tasks") is None, reason="django.tasks came with Django 6.0")
def test_woken_by_django_tasks(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """A commit enqueues a task, whose backend (here one that runs it at once, beside the request) delivers the mail."""
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    settings.EMAIL_OUTBOX_WAKEUP = "django.tasks"
    settings.EMAIL_OUTBOX_WAKEUP_PATIENCE = 10
    wakeup.publisher.forget()
    message()
    assert len(relay.accepted) == 1
    assert OutboxMessage.objects.get().state == "accepted"

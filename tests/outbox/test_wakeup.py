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
from tests.outbox.test_killed import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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


class Broker:
    """What a publisher's jobs speak to here: it takes hints, hangs, or fails, and notes what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.error: BaseException | None = None
        self.answers = threading.Event()
        self.answers.set()

    def hint(self, name: str) -> Callable[[], None]:
        """Give the job that tells this."""

        def tell() -> None:
            assert self.answers.wait(30)
            if self.error is not None:
                raise self.error
            self.told.append(name)

        return tell


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Give one that answers, at the latest when the test ends."""
    made = Broker()
    yield made
    made.answers.set()


def test_nobody_waits_for_a_broker_that_hangs(outbox_url: str, broker: Broker) -> None:
    """Behind a broker that hangs no caller waits, and whoever flushes does for as long as he said."""
    broker.answers.clear()
    publisher = wakeup.Publisher()
    began = time.monotonic()
    for number in range(100):
        assert publisher.publish(broker.hint(str(number)), instead=broker.hint("backlog"))
    assert time.monotonic() - began < 0.5
    began = time.monotonic()
    assert not publisher.flush(0.1)
    assert 0.1 <= time.monotonic() - began < 2
    broker.answers.set()
    assert publisher.flush(10)
    assert broker.told == [str(number) for number in range(100)]


def test_what_does_not_fit_is_one_backlog(outbox_url: str, broker: Broker) -> None:
    """Once the queue is full hints are dropped; when the broker answers it hears of the others, and of one backlog."""
    broker.answers.clear()
    publisher = wakeup.Publisher()
    kept = [publisher.publish(broker.hint("mail"), instead=broker.hint("backlog")) for _ in range(2 * FULL)]
    assert kept[:FULL] == [True] * FULL
    assert not any(kept[FULL + 1 :])  # one may be at the broker already, and leave its place
    broker.answers.set()
    assert publisher.flush(10)
    assert broker.told == ["mail"] * sum(kept) + ["backlog"]


FULL = wakeup.MOST_WAITING


def test_a_publisher_is_silent_after_a_failure(
    outbox_url: str, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """After a failure nothing is tried for a while; then a backlog is told, once, and what comes after it as usual."""
    now = 0.0
    publisher = wakeup.Publisher(clock=lambda: now)
    broker.error = OSError("refused")
    assert publisher.publish(broker.hint("first"), instead=broker.hint("backlog"))
    assert publisher.flush(10)
    assert not publisher.publish(broker.hint("second"), instead=broker.hint("backlog"))
    now = wakeup.SILENCE + 1
    publisher.publish(broker.hint("third"), instead=broker.hint("backlog"))
    assert publisher.flush(10)
    broker.error = None
    assert not publisher.publish(broker.hint("fourth"), instead=broker.hint("backlog"))
    assert broker.told == []
    now = 2 * wakeup.SILENCE + 2
    assert publisher.publish(broker.hint("fifth"), instead=broker.hint("backlog"))
    assert publisher.flush(10)
    assert broker.told == ["fifth", "backlog"]
    assert caplog.text.count("the sweep will find it") == 1


def test_a_backlog_is_told_without_being_asked(
    outbox_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that commits nothing more tells of what was lost, too, when the broker answers again."""
    monkeypatch.setattr(wakeup, "SILENCE", 0.05)
    publisher = wakeup.Publisher()
    broker.error = OSError("refused")
    publisher.publish(broker.hint("lost"), instead=broker.hint("backlog"))
    assert publisher.flush(10)
    broker.error = None
    until(lambda: broker.told == ["backlog"])


@pytest.mark.parametrize("error", [RuntimeError("a bug"), SystemExit(1)], ids=["error", "exit"])
def test_the_thread_outlives_what_a_job_raises(
    outbox_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Neither the caller nor the next hint notices; whoever flushes does not wait for a job that is gone."""
    monkeypatch.setattr(wakeup, "SILENCE", 0.0)
    publisher = wakeup.Publisher()
    broker.error = error
    publisher.publish(broker.hint("lost"), instead=lambda: None)
    assert publisher.flush(10)
    broker.error = None
    publisher.publish(broker.hint("next"), instead=lambda: None)
    assert publisher.flush(10)
    assert broker.told == ["next"]


def test_a_forked_child_has_a_thread_of_its_own(outbox_url: str, broker: Broker) -> None:
    """After a fork the parent's thread and queue are the parent's alone; the child's first job makes another."""
    broker.answers.clear()
    publisher = wakeup.Publisher()
    for name in ("at the broker", "in the queue"):
        publisher.publish(broker.hint(name), instead=broker.hint("backlog"))
    child = os.fork()
    if child == 0:
        broker.answers = threading.Event()
        broker.answers.set()
        publisher.publish(broker.hint("the child's"), instead=broker.hint("backlog"))
        os._exit(0 if publisher.flush(10) and broker.told == ["the child's"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    broker.answers.set()
    assert publisher.flush(10)
    assert broker.told == ["at the broker", "in the queue"]


@pytest.mark.skipif(find_spec("django.tasks") is None, reason="django.tasks came with Django 6.0")
def test_woken_by_django_tasks(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """A commit enqueues a task, whose backend (here one that runs it at once, beside the request) delivers the mail."""
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    settings.EMAIL_OUTBOX_WAKEUP = "django.tasks"
    wakeup.publisher.forget()
    message()
    assert wakeup.publisher.flush(10)
    assert len(relay.accepted) == 1
    assert OutboxMessage.objects.get().state == "accepted"

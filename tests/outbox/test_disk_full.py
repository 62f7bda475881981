"""SQLite's file may not grow any more: what a relay accepted meanwhile is written once there is room, and never again.

``PRAGMA max_page_count`` lets SQLite itself say that the disk is full, a connection at a time; the pages that are free
in the file are taken up by ballast, and given back by dropping it, which every connection of every process notices.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMessage, get_connection
from django.db import OperationalError, connections, transaction
from django.db.backends.signals import connection_created

from robust_email.outbox.database import database
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.registry import registry
from robust_email.smtp.events import Event, Submitted
from robust_email.testing import At, Fault, Reply
from tests.outbox.databases import configuration
from tests.outbox.faults import DatabaseFault, database_fault
from tests.outbox.processes import environment, finish, worker
from tests.outbox.test_killed import enqueue, judge, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)

NO_GROWTH = "PRAGMA max_page_count=1"
"""SQLite reads this as: as large as the file is now."""
FULL = "database or disk is full"
ROOM = 200
"""Pages that are free until the disk is full: enough for a claim."""


class Disk:
    """The free pages of the database's file, taken up and given back through a connection that may always grow it."""

    def __init__(self, url: str) -> None:
        self._file = sqlite3.connect(configuration(url)["NAME"], isolation_level=None, timeout=20)

    def make_room(self, pages: int = ROOM) -> None:
        """Leave as many free pages, and no others."""
        self._file.execute("VACUUM")
        self._take(pages)
        self.free()

    def fill(self) -> None:
        """Take up all free pages."""
        self._take(self._value("PRAGMA freelist_count"))
        assert self._value("PRAGMA freelist_count") == 0

    def free(self) -> None:
        """Give them back."""
        self._file.execute("DROP TABLE IF EXISTS ballast")

    def close(self) -> None:
        """Leave nothing behind."""
        self.free()
        self._file.close()

    def _take(self, pages: int) -> None:
        self._file.execute("CREATE TABLE ballast (octets)")
        self._file.execute("INSERT INTO ballast VALUES (zeroblob(?))", [pages * self._value("PRAGMA page_size")])

    def _value(self, query: str) -> int:
        return int(self._file.execute(query).fetchone()[0])


@pytest.fixture
def disk(outbox_url: str) -> Iterator[Disk]:
    """Give the disk; there is room on it afterwards."""
    found = Disk(outbox_url)
    yield found
    found.close()


class Refusals(DatabaseFault):
    """Counts how often SQLite finds its disk full, and makes room before the transaction after so many times."""

    def __init__(self, times: int, make_room: Callable[[], None]) -> None:
        super().__init__(times=times)
        self._make_room = make_room

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: ANN401, FBT001 - Django's signature of a wrapper
        """Run a statement."""
        if sql == "BEGIN" and self.struck == self.times:
            self._make_room()
        try:
            return execute(sql, params, many, context)
        except OperationalError as exc:
            assert str(exc) == FULL
            self.struck += 1
            if self.struck > self.times:
                pytest.fail("room was made, and the disk is full again: the worker would wait for ever")
            raise


@contextmanager
def after_the_first_250(act: Callable[[], None]) -> Iterator[None]:
    """Do something once, as soon as a relay has accepted a mail and before that is written down."""
    todo = [act]

    def on_event(event: Event) -> None:
        if isinstance(event, Submitted) and todo:
            todo.pop()()

    registry.subscribe(on_event)
    try:
        yield
    finally:
        registry.unsubscribe(on_event)


@contextmanager
def no_growth() -> Iterator[None]:
    """Let this process take no page that the file does not have, on the connection at hand and on those made later."""

    def forbid(connection: Any, **_: object) -> None:  # noqa: ANN401 - Django's
        with connection.cursor() as cursor:
            cursor.execute(NO_GROWTH)

    connection_created.connect(forbid)
    forbid(connections[database()])
    try:
        yield
    finally:
        connection_created.disconnect(forbid)
        connections[database()].close()


def test_a_settle_waits_for_room(outbox_url: str, relay: ScriptedServer, disk: Disk) -> None:
    """Full from the first 250 on, refused four times: accepted in each row and once in the ledger, none in doubt."""
    enqueue(40)
    disk.make_room()

    with no_growth(), database_fault(Refusals(4, disk.free)) as refusals, after_the_first_250(disk.fill):
        run_batch(40)
    assert refusals.struck == 4
    assert judge(relay, 40) == (0, 0)
    assert Counter(SubmissionAttempt.objects.values_list("disposition", flat=True)) == {"accepted": 40}


def test_a_drain_in_another_process_waits_for_room(
    outbox_url: str, relay: ScriptedServer, disk: Disk, tmp_path: Path
) -> None:
    """A service whose disk is full keeps what it knows, writes it when somebody has made room, and never resubmits."""
    count, at = 200, 30
    relay.add_fault(Fault(At.FINAL, Reply(delay=1.0), skip=at, times=1))  # time to fill the disk in
    enqueue(count)
    disk.make_room()
    limited = configuration(outbox_url)
    limited["OPTIONS"]["init_command"] += f"; {NO_GROWTH}"
    # Nobody dies here, and a sign of life needs a page now and then: a lease must not end for want of one.
    env = environment(outbox_url, relay, DATABASES={"default": limited}, EMAIL_OUTBOX_LEASE=60)
    said = tmp_path / "said"
    with said.open("w") as output, worker(env, "never", "--forever", output=output) as process:
        relay.wait_for(lambda it: len(it.accepted) > at, 30)
        disk.fill()
        until(lambda: said.read_text().count("trying again") >= 3, process)
        known = OutboxMessage.objects.filter(state="accepted").count()
        assert known < len(relay.accepted) <= count
        disk.free()
        until(lambda: not OutboxMessage.objects.filter(finished_at__isnull=True).exists(), process)
        process.terminate()
        finish(process)
    assert process.returncode == 0, said.read_text()
    assert judge(relay, count) == (0, 0)


def send_alone(mails: list[EmailMessage]) -> None:
    """Send, with no transaction open."""
    assert get_connection().send_messages(mails) == len(mails)


def send_in_a_transaction(mails: list[EmailMessage]) -> None:
    """Send in a transaction that is committed even if the mails are refused."""
    refusal: OperationalError | None = None
    with transaction.atomic(database()):
        try:
            send_alone(mails)
        except OperationalError as exc:
            refusal = exc
    if refusal is not None:
        raise refusal


@pytest.mark.parametrize("send", [send_alone, send_in_a_transaction])
@pytest.mark.parametrize("count", [1, 5])
def test_an_enqueue_says_that_there_is_no_room(
    outbox_url: str,
    relay: ScriptedServer,
    disk: Disk,
    send: Callable[[list[EmailMessage]], None],
    count: int,
) -> None:
    """A page more each time until all goes: the caller is told in SQLite's words, and till then nothing is there."""
    enqueue(2)
    before = rows()
    to = [f"user{number}@example.net" for number in range(100)]
    mails = [EmailMessage("hi", "there " * 1_500, "shop@example.org", to) for _ in range(count)]
    refused = 0
    while rows() == before:
        disk.make_room(refused)
        with no_growth():
            try:
                send(mails)
            except OperationalError as exc:
                assert str(exc) == FULL
                refused += 1
                assert rows() == before
    assert refused > 5 * count
    assert rows() == (2 + count, 2 + count * len(to))
    while run_batch().claimed:
        pass
    assert judge(relay, 2 + count) == (0, 0)


def rows() -> tuple[int, int]:
    """Count the mails and their recipients."""
    return OutboxMessage.objects.count(), OutboxRecipient.objects.count()

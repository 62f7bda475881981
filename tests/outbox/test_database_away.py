"""The database goes away while a worker has something to write down: it writes it later, and nobody sends again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMessage, get_connection
from django.core.management import CommandError, call_command
from django.db import Error, InterfaceError, OperationalError, connections

from robust_email.outbox import enqueue
from robust_email.outbox.database import after_a_grace, database, until_it_holds
from robust_email.outbox.dispatch import Tally, _RelayRun, never, run_batch
from robust_email.outbox.draining import Drain, Plan
from robust_email.outbox.heartbeat import Heartbeat
from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.services import claims
from robust_email.registry import registry
from robust_email.smtp.events import Event, Submitted
from tests.outbox.faults import DatabaseFault, database_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.outbox.services.sweeping import Swept
    from robust_email.testing import ScriptedServer


@pytest.mark.parametrize("outbox_url", ["postgres", "mariadb"], indirect=True)
def test_a_connection_lost_after_the_250(outbox_url: str, relay: ScriptedServer) -> None:
    """The server ends the worker's connection between a 250 and its commit, thrice: each mail once, none in doubt."""
    messages = [EmailMessage("hi", "", "shop@example.org", [f"user{n}@example.net"]) for n in range(6)]
    get_connection().send_messages(messages)
    losses = iter(range(3))

    def lose(event: Event) -> None:
        if isinstance(event, Submitted) and next(losses, None) is not None:
            end_connection()

    registry.subscribe(lose)
    try:
        run_batch()
    finally:
        registry.unsubscribe(lose)
    assert set(OutboxMessage.objects.values_list("state", "doubts")) == {("accepted", 0)}
    assert sorted(each.forward_paths[0] for each in relay.accepted) == [f"user{n}@example.net" for n in range(6)]


def end_connection() -> None:
    """Let the database's server end this thread's connection, as a restart does."""
    mine: Any = connections[database()]
    with mine.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if mine.vendor == "postgresql" else "SELECT CONNECTION_ID()")
        [number] = cursor.fetchone()
    other = mine.copy()
    with other.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend({number})" if mine.vendor == "postgresql" else f"KILL {number}")
    other.close()


class Away:
    """A change that fails a number of times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.tries = 0

    def __call__(self) -> str:
        """Fail, or hold."""
        self.tries += 1
        if self.tries <= self.failures:
            raise OperationalError("disk full")
        return "held"


@pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)
def test_a_change_is_made_until_it_holds(outbox_url: str) -> None:
    """Pauses double up to a limit, and the change is made in the end."""
    pauses: list[float] = []
    change = Away(10)
    assert until_it_holds(change, using=database(), give_up=lambda: False, sleep=pauses.append) == "held"
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


@pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)
def test_asked_to_end_it_gives_up_after_a_grace(outbox_url: str) -> None:
    """A worker that is to end goes on trying for a while, then raises; one that is not goes on."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    give_up: Callable[[], bool] = after_a_grace(lambda: now > 20, grace=10, clock=lambda: now)
    change = Away(10**6)
    with pytest.raises(OperationalError, match="disk full"):
        until_it_holds(change, using=database(), give_up=give_up, sleep=sleep)
    assert 30 <= now <= 40


@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_a_disk_that_is_full_is_waited_for(outbox_url: str, relay: ScriptedServer) -> None:
    """A settle that the database refuses for want of space holds as soon as there is some."""
    get_connection().send_messages([EmailMessage("hi", "", "shop@example.org", ["ann@example.net"])])
    execute(
        "CREATE SEQUENCE refusals",
        "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN IF NEW.state = 'accepted' AND nextval('refusals') <= 2"
        " THEN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$"
        " LANGUAGE plpgsql",
        "CREATE TRIGGER disk BEFORE UPDATE ON robust_email_outbox_outboxmessage FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    try:
        run_batch()
        assert execute("SELECT last_value FROM refusals") == (3,)
    finally:
        execute(
            "DROP TRIGGER disk ON robust_email_outbox_outboxmessage", "DROP FUNCTION refuse", "DROP SEQUENCE refusals"
        )
    assert OutboxMessage.objects.get().state == "accepted"
    assert len(relay.accepted) == 1


def execute(*statements: str) -> object:
    """Run statements; return the first row of the last one's answer, if it has one."""
    with connections[database()].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


@pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_drain_goes_on_after_a_sweep_that_failed(outbox_url: str, settings: Settings, error: type[Error]) -> None:
    """A service does not end for an error, even one that Django counts among no ``DatabaseError``."""
    settings.EMAIL_OUTBOX_SWEEP = 0.05
    swept = threading.Event()

    def on_sweep(_: Swept) -> None:
        swept.set()
        drain.stop()

    drain = Drain(Plan(forever=True, max_seconds=30), on_sweep=on_sweep)
    with database_fault(DatabaseFault(part='"lease_until" <', error=error)) as fault:
        drain.run()
    assert (fault.struck, swept.is_set()) == (1, True)


@pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_heartbeat_goes_on_after_an_error(outbox_url: str, settings: Settings, error: type[Error]) -> None:
    """The next sign of life is given: no lease runs out under a worker that lives."""
    settings.EMAIL_OUTBOX_HEARTBEAT = 0.02
    enqueue(EmailMessage("hi", "", "shop@example.org", ["ann@example.net"]))
    claim = claims.claim(1)
    before = OutboxMessage.objects.get().lease_until
    with database_fault(DatabaseFault(part='SET "lease_until"', error=error)) as fault:
        with Heartbeat(claim.token):
            assert fault.passed.wait(30)
        assert fault.struck == 1
    after = OutboxMessage.objects.get().lease_until
    assert before is not None
    assert after is not None
    assert after > before


@pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_stays_away_is_no_fault_of_the_mails(
    outbox_url: str, relay: ScriptedServer, error: type[Error]
) -> None:
    """A worker that gives up before the mark gives all mails back: none is suspected of having broken the others."""
    get_connection().send_messages([EmailMessage("hi", "", "shop@example.org", [f"{n}@example.net"]) for n in range(3)])
    claim, tally = claims.claim(3), Tally()
    run = _RelayRun(claim, "default", list(claim.rows), tally, never)
    run._give_up = lambda: True
    with database_fault(DatabaseFault(part='SET "state"', error=error)) as fault:
        run.run()
    assert fault.struck == 1
    assert tally.released == 3
    assert set(OutboxMessage.objects.values_list("state", "lost_leases")) == {("queued", 0)}
    assert relay.accepted == []


@pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)
def test_a_drain_that_is_to_end_says_what_the_database_said(outbox_url: str) -> None:
    """The command ends with a line for people, and with the exit code of a failure."""
    with database_fault(DatabaseFault(part='"lease_until" <')), pytest.raises(CommandError, match="database is away"):
        call_command("outbox_drain")

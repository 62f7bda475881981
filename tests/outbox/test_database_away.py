"""The database goes away while a worker has something to write down: it writes it later, and nobody sends again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMessage, get_connection
from django.db import OperationalError, connections

from robust_email.outbox.database import after_a_grace, database, until_it_holds
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage
from robust_email.registry import registry
from robust_email.smtp.events import Event, Submitted

if TYPE_CHECKING:
    from collections.abc import Callable

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

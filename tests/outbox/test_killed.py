"""Workers killed with SIGKILL at each step: no mail lost, none stuck, doubles only where the row says in doubt."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMessage, get_connection
from django.db.models import Count

from robust_email.outbox.models import OutboxMessage, SubmissionAttempt
from robust_email.testing import Action, At, Drip, Extensions, Fault, ScriptedServer, Stall, TakeThenStall
from tests.outbox.processes import environment, finish, worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

WINDOW = 8

STEPS_OF_A_DIALOGUE: dict[str, tuple[At, Action, bool]] = {
    "mail": (At.MAIL, Stall(), False),
    "rcpt": (At.RCPT, Stall(), False),
    "data": (At.DATA, Stall(), False),
    "body": (At.BODY, Stall(), True),
    "final": (At.FINAL, TakeThenStall(), True),
}


def enqueue(count: int, **options: str) -> None:
    """Put mails into the outbox, one recipient each."""
    messages = [EmailMessage(f"mail {n}", "there", "shop@example.org", [f"user{n}@example.net"]) for n in range(count)]
    for message in messages:
        vars(message)["outbox_options"] = options
    assert get_connection().send_messages(messages) == count


def judge(relay: ScriptedServer, count: int, *others: ScriptedServer) -> tuple[int, int]:
    """Check the ledgers against the rows; return how many mails were in doubt, and how many doubles there were.

    Every mail is accepted, at least once; more often only if its row says that it was in doubt, and then each time with
    the same octets and so the same Message-ID. ``others``: relays that the mails may have gone to as well.
    """
    accepted = [message for each in (relay, *others) for message in each.accepted]
    rows = {row.message_id: row for row in OutboxMessage.objects.all()}
    assert len(rows) == count
    assert Counter(row.state for row in rows.values()) == {"accepted": count}
    times = Counter(message.message_id for message in accepted)
    assert set(times) == set(rows)
    for message in accepted:
        row = rows[message.message_id]
        assert message.data == bytes(row.content or b"")
        assert times[message.message_id] <= 1 + row.doubts
    return sum(row.doubts for row in rows.values()), sum(times.values()) - count


def judge_held(relay: ScriptedServer, count: int, *others: ScriptedServer) -> int:
    """Check the ledgers against rows that ``hold``; return how many mails are in doubt.

    No mail is in a ledger twice, or in two. What is accepted is in one; what is in doubt may be. Nothing else is there.
    """
    rows = {row.message_id: row for row in OutboxMessage.objects.all()}
    times = Counter(message.message_id for each in (relay, *others) for message in each.accepted)
    assert len(rows) == count
    assert times.keys() <= rows.keys()
    assert set(times.values()) <= {1}
    states = Counter(row.state for row in rows.values())
    assert states["accepted"] + states["in-doubt"] == count, states
    assert [row.state for row in rows.values() if row.message_id not in times] == ["in-doubt"] * (count - len(times))
    return states["in-doubt"]


def most_begun() -> int:
    """Return of how many mails a worker has written down that they are about to leave: the most of any worker."""
    begun = OutboxMessage.objects.filter(state="data-started").values("lease_token").annotate(mails=Count("pk"))
    return max((each["mails"] for each in begun), default=0)


@pytest.mark.parametrize(
    ("point", "doubts", "doubles"),
    [("session", 0, 0), ("verdict", 1, 1), ("settled", None, 0)],
)
@pytest.mark.parametrize("outbox_url", ["sqlite", "postgres", "mariadb"], indirect=True)
def test_killed_between_the_steps(
    outbox_url: str, relay: ScriptedServer, point: str, doubts: int | None, doubles: int
) -> None:
    """Killed before the mark: no doubt. After the 250: the one mail. After the commit: whatever else was on the way."""
    enqueue(3)
    env = environment(outbox_url, relay, EMAIL_OUTBOX_WINDOW=1)
    with worker(env, point, "--until-empty") as process:
        output = finish(process)
    assert process.returncode == -signal.SIGKILL, output
    work_off(env)
    found = judge(relay, 3)
    assert found[1] == doubles
    if doubts is not None:
        assert found[0] == doubts


@pytest.mark.parametrize("step", STEPS_OF_A_DIALOGUE)
@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_killed_in_the_dialogue(
    outbox_url: str, relay: ScriptedServer, smtp_faults: Callable[..., ScriptedServer], step: str
) -> None:
    """Killed while the relay is silent at one step: in doubt only if the end of data may have left."""
    at, action, may_doubt = STEPS_OF_A_DIALOGUE[step]
    server = smtp_faults(Fault(at, action, times=1), extensions=Extensions.none())
    env = environment(outbox_url, server)
    enqueue(2)
    with worker(env, "never", "--until-empty") as process:
        expected = {"mail": "MAIL", "rcpt": "RCPT"}.get(step, "DATA")
        server.wait_for(lambda it: it.commands[expected] > 0, 30)
        if step == "final":
            server.wait_for(lambda it: len(it.accepted) > 0, 30)
        if may_doubt:
            until(lambda: OutboxMessage.objects.filter(state="data-started").exists())
        process.kill()
        process.wait()
    work_off(env)
    doubts, doubles = judge(server, 2)
    assert doubts == (1 if may_doubt else 0)
    assert doubles == (1 if step == "final" else 0)


@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_held_doubts_are_never_doubled(outbox_url: str, relay: ScriptedServer) -> None:
    """With ``hold`` a kill after the 250 doubles nothing: the mail waits for a person."""
    enqueue(20, in_doubt="hold")
    env = environment(outbox_url, relay)
    with worker(env, "verdict", "--until-empty") as process:
        finish(process)
    work_off(env)
    assert 1 <= judge_held(relay, 20) <= WINDOW


@pytest.mark.parametrize("outbox_url", ["sqlite", "postgres", "mariadb"], indirect=True)
def test_two_workers_share_one_outbox(outbox_url: str, relay: ScriptedServer) -> None:
    """Two processes of two threads each on one outbox: each mail once, none in doubt."""
    enqueue(120)
    env = environment(outbox_url, relay)
    arguments = ("--until-empty", "--batch", "10", "--concurrency", "2")
    with worker(env, "never", *arguments) as one, worker(env, "never", *arguments) as two:
        output = finish(one) + finish(two)
    assert (one.returncode, two.returncode) == (0, 0), output
    assert judge(relay, 120) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("outbox_url", ["postgres", "mariadb"], indirect=True)
def test_eight_workers_share_one_outbox(outbox_url: str, relay: ScriptedServer) -> None:
    """Eight processes on one outbox: each mail once, none in doubt."""
    enqueue(500)
    env = environment(outbox_url, relay)
    processes = []
    contexts = [worker(env, "never", "--until-empty", "--batch", "7") for _ in range(8)]
    try:
        processes = [context.__enter__() for context in contexts]
        outputs = [finish(process, 120) for process in processes]
    finally:
        for context in contexts[: len(processes)]:
            context.__exit__(None, None, None)
    assert {process.returncode for process in processes} == {0}, outputs
    assert judge(relay, 500) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("in_doubt", ["resend", "hold"])
@pytest.mark.parametrize("outbox_url", ["postgres", "mariadb"], indirect=True)
def test_random_kills_over_a_queue(
    outbox_url: str, relay: ScriptedServer, in_doubt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six SIGKILLs over 500 mails: lost 0, stuck 0, at most a window in doubt for each kill; held, none is doubled."""
    kills, count = 6, 500
    enqueue(count, in_doubt=in_doubt)
    env = environment(outbox_url, relay)
    dice = random.Random(20_261_124)  # noqa: S311 - when to kill, the same in every run
    for number in range(kills):
        with worker(env, "never", "--until-empty", "--batch", "40") as process:
            target = (number + dice.random()) * count / (kills + 1)
            relay.wait_for(lambda it, wanted=target: len(it.accepted) >= wanted, 60)  # type: ignore[misc]  # its default is the loop's
            process.kill()
            process.wait()
        assert most_begun() <= WINDOW
    work_off(env)
    doubts, doubles = (judge_held(relay, count), 0) if in_doubt == "hold" else judge(relay, count)
    with capsys.disabled():
        print(f"\n{in_doubt}: {kills} kills over {count}: {doubts} in doubt, {doubles} doubled, 0 lost, 0 stuck")  # noqa: T201 - the figure is what the test is for
    assert doubts <= kills * WINDOW
    assert doubles <= doubts


@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_asked_to_end_it_finishes_and_gives_back(outbox_url: str, relay: ScriptedServer) -> None:
    """On SIGTERM a worker ends with 0, nothing is in doubt, nothing held, and the rest of its batch waits again."""
    enqueue(400)
    env = environment(outbox_url, relay)
    with worker(env, "never", "--forever", "--json") as process:
        relay.wait_for(lambda it: len(it.accepted) >= 20, 30)
        process.terminate()
        output = finish(process, 30)
    assert process.returncode == 0, output
    states = Counter(OutboxMessage.objects.values_list("state", flat=True))
    assert set(states) <= {"accepted", "queued"}
    assert states["accepted"] == len(relay.accepted)
    assert OutboxMessage.objects.filter(doubts__gt=0).count() == 0
    work_off(env)
    assert judge(relay, 400) == (0, 0)


@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_two_containers_with_the_same_process_id(outbox_url: str, relay: ScriptedServer) -> None:
    """Two workers that are both process 1 of the same host name do not take each other for themselves."""
    unshare = shutil.which("unshare")
    prefix = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    if unshare is None or not can_unshare(prefix):
        pytest.skip("process namespaces are not to be had here")
    enqueue(60)
    env = environment(outbox_url, relay)
    arguments = ("--until-empty", "--batch", "5")
    with (
        worker(env, "never", *arguments, prefix=prefix) as one,
        worker(env, "never", *arguments, prefix=prefix) as two,
    ):
        output = finish(one) + finish(two)
    assert (one.returncode, two.returncode) == (0, 0), output
    assert judge(relay, 60) == (0, 0)


def can_unshare(prefix: tuple[str, ...]) -> bool:
    """Tell whether this account may make process namespaces."""
    import subprocess

    return subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0


def work_off(env: dict[str, str]) -> None:
    """Let one more worker run until nothing waits and nothing is held any more."""
    with worker(env, "never", "--forever") as process:
        until(lambda: not OutboxMessage.objects.filter(finished_at__isnull=True).exists(), process)
        process.terminate()
        finish(process, 30)


def until(condition: Callable[[], bool], process: Popen[Any] | None = None, timeout: float = 30.0) -> None:
    """Wait for something in the database, which tells nobody when it changes."""
    end = time.monotonic() + timeout
    while not condition():
        if process is not None and process.poll() is not None:
            pytest.fail(f"the worker ended: {process.stdout.read() if process.stdout is not None else ''}")
        assert time.monotonic() < end, Counter(OutboxMessage.objects.values_list("state", flat=True))
        time.sleep(0.02)


@pytest.mark.parametrize("outbox_url", ["postgres"], indirect=True)
def test_a_slow_relay_does_not_cost_the_lease(outbox_url: str, relay: ScriptedServer) -> None:
    """While a worker waits for a verdict longer than its lease, its signs of life keep the mail from the others."""
    relay.add_fault(Fault(At.FINAL, Drip(interval=0.2), times=1))
    enqueue(1)
    env = environment(outbox_url, relay)
    with worker(env, "never", "--forever") as one, worker(env, "never", "--forever") as two:
        until(lambda: not OutboxMessage.objects.filter(finished_at__isnull=True).exists())
        one.terminate()
        two.terminate()
        output = finish(one) + finish(two)
    seconds = SubmissionAttempt.objects.get().seconds
    assert seconds > 2, "the relay was to take longer than the lease"
    assert (judge(relay, 1), OutboxMessage.objects.get().lost_leases) == ((0, 0), 0), output

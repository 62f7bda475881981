"""Every action at the moments where it matters, seen from a bare socket, and the counting of faults."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.testing import (
    Action,
    At,
    Close,
    CloseAfterBytes,
    Drip,
    Extra,
    Fault,
    Flood,
    Garbage,
    Inject,
    Reply,
    Reset,
    Script,
    ScriptedServer,
    Stall,
    TakeThenClose,
    TakeThenStall,
    TlsGarbage,
)
from robust_email.testing.faults import FaultPlan, Occasion
from robust_email.testing.notation import parse_fault
from tests.testing.dialogue import CONTENT, GREETING, TRANSACTION, Wire, connected, ready

LATER = Reply("451 4.7.1 later")

ROUTES: dict[At, list[bytes]] = {
    At.GREETING: [],
    At.EHLO: [b"EHLO c\r\n"],
    At.STARTTLS: [b"EHLO c\r\n", b"STARTTLS\r\n"],
    At.AUTH: [b"EHLO c\r\n", b"AUTH PLAIN AHUAcA==\r\n"],
    At.MAIL: [b"EHLO c\r\n", b"MAIL FROM:<a@example.org>\r\n"],
    At.RCPT: [b"EHLO c\r\n", b"MAIL FROM:<a@example.org>\r\n", b"RCPT TO:<b@example.org>\r\n"],
    At.DATA: [b"EHLO c\r\n", *TRANSACTION.splitlines(keepends=True), b"DATA\r\n"],
    At.BDAT: [b"EHLO c\r\n", *TRANSACTION.splitlines(keepends=True), b"BDAT 2 LAST\r\n\r\n"],
    At.BODY: [b"EHLO c\r\n", *TRANSACTION.splitlines(keepends=True), b"DATA\r\n", CONTENT + b".\r\n"],
    At.BEFORE_FINAL: [b"EHLO c\r\n", *TRANSACTION.splitlines(keepends=True), b"DATA\r\n", CONTENT + b".\r\n"],
    At.FINAL: [b"EHLO c\r\n", *TRANSACTION.splitlines(keepends=True), b"DATA\r\n", CONTENT + b".\r\n"],
    At.RSET: [b"EHLO c\r\n", b"RSET\r\n"],
    At.NOOP: [b"EHLO c\r\n", b"NOOP\r\n"],
    At.QUIT: [b"EHLO c\r\n", b"QUIT\r\n"],
    At.IDLE: [b"EHLO c\r\n"],
}
"""What a client writes to reach each moment in clear text; the reply to the last of them is the fault's."""


def walk(wire: Wire, at: At) -> None:
    """Go up to the moment, and write what brings it on."""
    steps = [b"", *ROUTES[at]]
    for step in steps[:-1]:
        wire.write(step)
        wire.reply()
    wire.write(steps[-1])
    if at is At.IDLE:
        wire.reply()


def faulty(
    at: At, action: Action, *, message: int | None = None, times: int | None = None, after: int = 0
) -> ScriptedServer:
    """Return a server with one fault."""
    fault = Fault(at, action, message=message, times=times, after=after)
    return ScriptedServer(Script(faults=[fault], accounts={"u": "p"}))


@pytest.mark.parametrize("at", ROUTES)
def test_any_reply_at_any_moment(at: At) -> None:
    """The fault's reply takes the place of the server's own; the message is taken at FINAL and nowhere else."""
    with faulty(at, LATER) as server, connected(server) as wire:
        walk(wire, at)
        assert wire.reply() == b"451 4.7.1 later\r\n"
    assert len(server.accepted) == (at is At.FINAL)


@pytest.mark.parametrize("at", ROUTES)
def test_the_connection_ends_at_any_moment(at: At) -> None:
    """FIN, RST and 421 each end the connection there, the 421 after its text."""
    with faulty(at, Close()) as server, connected(server) as wire:
        walk(wire, at)
        assert wire.rest() == b""
    with faulty(at, Reset()) as server, pytest.raises(ConnectionResetError), connected(server) as wire:
        walk(wire, at)
        wire.rest()
    with faulty(at, Reply("421 4.3.2 bye")) as server, connected(server) as wire:
        walk(wire, at)
        assert wire.rest() == b"421 4.3.2 bye\r\n"


def test_a_close_over_unread_input_is_a_fin() -> None:
    """What the client wrote meanwhile does not turn the end of the stream into a reset."""
    with faulty(At.QUIT, Reply(delay=0.1)) as server, ready(server) as wire:
        wire.write(b"QUIT\r\n")
        server.wait_for(lambda server: server.commands["QUIT"] == 1)
        wire.write(b"NOOP\r\n")
        assert wire.rest().startswith(b"221 ")


@pytest.mark.parametrize("at", ROUTES)
def test_silence_at_any_moment(at: At) -> None:
    """A stalled server says nothing, and closes at once all the same."""
    with faulty(at, Stall()) as server, connected(server, timeout=0.05) as wire:
        walk(wire, at)
        with pytest.raises(TimeoutError):
            wire.reply()
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("action", [Stall(reading=False), Drip(interval=60), Flood(), Reply(delay=60), TakeThenStall()])
def test_no_action_outlives_the_server(action: Action) -> None:
    """Closing the server ends whatever is being performed, though the client reads nothing."""
    with faulty(At.FINAL, action) as server, connected(server) as wire:
        walk(wire, At.FINAL)
        server.wait_for(lambda server: len(server.accepted) == 1)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 2.0
        assert server.transcript().closed


def test_a_reply_comes_in_the_segments_asked_for() -> None:
    """Each piece is there before the next one leaves."""
    with faulty(At.GREETING, Reply("220-a\n220 b", split=[1, 7], gap=0.1)) as server, connected(server) as wire:
        assert [wire.socket.recv(100) for _ in range(3)] == [b"2", b"20-a\r\n", b"220 b\r\n"]


def test_the_usual_reply_can_be_late() -> None:
    """A delay without a text holds the server's own reply back and changes nothing else."""
    with faulty(At.BEFORE_FINAL, Reply(delay=0.1)) as server, connected(server) as wire:
        walk(wire, At.BEFORE_FINAL)
        assert server.accepted == []
        assert wire.reply().startswith(b"250 ")
        assert len(server.accepted) == 1


def test_a_reply_drips() -> None:
    """The usual reply arrives octet by octet; endless dripping repeats its text."""
    with faulty(At.GREETING, Drip(interval=0.001, size=3)) as server, connected(server) as wire:
        assert wire.reply() == GREETING
    with faulty(At.GREETING, Drip("220-x", interval=0.0, size=9, endless=True)) as server, connected(server) as wire:
        assert wire.socket.recv(7) == b"220-x\r\n"
        assert wire.socket.recv(7) == b"220-x\r\n"


def test_octets_that_are_no_reply() -> None:
    """Garbage stands in for one reply; the next command is answered as usual."""
    with faulty(At.NOOP, Garbage(b"\xff\x00\r\n"), times=1) as server, ready(server) as wire:
        assert wire.ask(b"NOOP") == b"\xff\x00\r\n"
        assert wire.ask(b"NOOP").startswith(b"250 ")


def test_a_flood_does_not_end() -> None:
    """A multiline reply goes on for as long as it is read."""
    with faulty(At.EHLO, Flood(b"250-x\r\n")) as server, connected(server) as wire:
        wire.reply()
        wire.write(b"EHLO c\r\n")
        taken = 0
        while taken < 1_000_000:
            taken += len(wire.socket.recv(65536))


def test_a_reply_too_many() -> None:
    """An extra reply follows the usual one, and shifts those that come after."""
    with faulty(At.MAIL, Extra("250 2.0.0 surplus")) as server, ready(server) as wire:
        wire.write(b"MAIL FROM:<a@example.org>\r\n")
        assert wire.reply() == b"250 2.1.0 Sender ok\r\n"
        assert wire.reply() == b"250 2.0.0 surplus\r\n"


def test_a_reply_breaks_off() -> None:
    """The first octets arrive, then the end."""
    with faulty(At.EHLO, CloseAfterBytes(6)) as server, connected(server) as wire:
        walk(wire, At.EHLO)
        assert wire.rest() == b"250-sc"


def test_the_content_breaks_off() -> None:
    """At BODY the count is of content; a message that ends before it is taken."""
    with faulty(At.BODY, CloseAfterBytes(1000)) as server, connected(server) as wire:
        walk(wire, At.FINAL)
        assert wire.reply().startswith(b"250 ")
        for step in (*TRANSACTION.splitlines(), b"DATA"):
            wire.ask(step)
        wire.write(b"x" * 1000)
        assert wire.rest() == b""
    assert len(server.accepted) == 1


def test_an_early_reply_is_the_final_one() -> None:
    """A server may refuse content before its end; no second reply follows."""
    with faulty(At.BODY, Reply("552 5.3.4 too much"), after=10, times=1) as server, connected(server) as wire:
        walk(wire, At.BODY)
        assert wire.reply() == b"552 5.3.4 too much\r\n"
        assert wire.ask(b"NOOP") == b"250 2.0.0 Ok\r\n"


def test_a_message_taken_without_a_word() -> None:
    """The ledger has the message, the client an end of file."""
    with faulty(At.FINAL, TakeThenClose()) as server, connected(server) as wire:
        walk(wire, At.FINAL)
        assert wire.rest() == b""
    assert server.accepted[0].message_id == "<1@example.org>"


def test_state_follows_what_was_said() -> None:
    """A recipient that got a 250 by a fault is one, one that got a 550 is none."""
    faults = [Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bob@"), Fault(At.MAIL, Reply("250 fine"))]
    with ScriptedServer(Script(faults=faults, require_auth=True, accounts={"u": "p"})) as server, ready(server) as wire:
        assert wire.ask(b"MAIL FROM:<a@example.org>") == b"250 fine\r\n"
        assert wire.ask(b"RCPT TO:<bob@example.org>") == b"550 5.1.1 no\r\n"
        assert wire.ask(b"RCPT TO:<eve@example.org>").startswith(b"250 ")
        assert wire.ask(b"BDAT 0 LAST").startswith(b"250 ")
    assert server.accepted[0].forward_paths == ("eve@example.org",)


def test_faults_find_their_connection_and_transaction() -> None:
    """Connections are counted over the server, transactions over their connection."""
    faults = [Fault(At.MAIL, LATER, connection=2, message=2)]
    with ScriptedServer(Script(faults=faults)) as server:
        codes = []
        for _ in range(2):
            with ready(server) as wire:
                for _ in range(2):
                    codes.append(wire.ask(b"MAIL FROM:<a@example.org>")[:3])
                    wire.ask(b"RSET")
    assert codes == [b"250", b"250", b"250", b"451"]


def test_a_session_is_told_to_go_after_its_first_message() -> None:
    """IDLE comes before the next command, when the transaction it names is done."""
    with faulty(At.IDLE, Reply("421 4.4.2 idle"), message=1) as server, connected(server) as wire:
        walk(wire, At.FINAL)
        assert wire.reply().startswith(b"250 ")
        assert wire.rest() == b"421 4.4.2 idle\r\n"


def test_faults_change_while_the_server_runs(smtp_server: ScriptedServer) -> None:
    """Faults can be added and forgotten between two commands."""
    with ready(smtp_server) as wire:
        smtp_server.add_fault(Fault(At.NOOP, LATER))
        assert wire.ask(b"NOOP").startswith(b"451 ")
        smtp_server.clear_faults()
        assert wire.ask(b"NOOP").startswith(b"250 ")


def test_the_server_acts_unasked(smtp_server: ScriptedServer) -> None:
    """One connection is told 421 and closed while it waits; the other goes on; a RST can come as well."""
    with ready(smtp_server) as first, ready(smtp_server) as second:
        smtp_server.act(Reply("421 4.4.2 tired"), connection=1)
        assert first.rest() == b"421 4.4.2 tired\r\n"
        assert second.ask(b"NOOP").startswith(b"250 ")
        smtp_server.act(Reset())
        with pytest.raises(ConnectionResetError):
            second.rest()


def test_injected_octets_ride_with_the_reply() -> None:
    """What Inject writes is in the same segment as the usual reply."""
    with faulty(At.NOOP, Inject(b"250 injected\r\n")) as server, ready(server) as wire:
        wire.write(b"NOOP\r\n")
        assert wire.socket.recv(100) == b"250 2.0.0 Ok\r\n250 injected\r\n"


@pytest.mark.parametrize(
    ("at", "action"), [(At.RCPT, TakeThenClose()), (At.DATA, TakeThenStall()), (At.EHLO, TlsGarbage())]
)
def test_faults_that_mean_nothing_are_refused(at: At, action: Action) -> None:
    """An action at a moment where it makes no sense is a ValueError."""
    with pytest.raises(ValueError, match="belongs to At"):
        Fault(at, action)


@given(st.integers(0, 4), st.none() | st.integers(1, 4), st.integers(0, 12))
def test_a_fault_strikes_as_often_as_it_says(skip: int, times: int | None, occasions: int) -> None:
    """The first ``skip`` matches pass, then ``times`` strike, then it is spent."""
    plan = FaultPlan([Fault(At.NOOP, LATER, skip=skip, times=times)])
    struck = [plan.take(Occasion(At.NOOP, 1)) is not None for _ in range(occasions)]
    limit = occasions if times is None else skip + times
    assert struck == [skip <= number < limit for number in range(occasions)]


def test_the_first_fault_that_matches_is_taken() -> None:
    """A spent fault makes room for the next one."""
    plan = FaultPlan([Fault(At.NOOP, LATER, times=1), Fault(At.NOOP, Close())])
    taken = [plan.take(Occasion(At.NOOP, 1)) for _ in range(3)]
    assert [fault.action if fault else None for fault in taken] == [LATER, Close(), Close()]
    assert plan.take(Occasion(At.RSET, 1)) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("RCPT=451 4.7.1 later", Fault(At.RCPT, LATER)),
        ("final*1=close", Fault(At.FINAL, Close(), times=1)),
        ("RCPT/bob@*2=stall", Fault(At.RCPT, Stall(), subject="bob@", times=2)),
    ],
)
def test_a_fault_in_a_word(text: str, fault: Fault) -> None:
    """The command line's notation says the same as the dataclass."""
    assert parse_fault(text) == fault


@pytest.mark.parametrize("text", ["RCPT", "NOWHERE=close", "RCPT=what", "=close"])
def test_a_word_that_is_no_fault(text: str) -> None:
    """The error names what is possible."""
    with pytest.raises(ValueError, match="one of"):
        parse_fault(text)

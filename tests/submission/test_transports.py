"""How a transaction is written: what leaves in one go, when the envelope goes first, and what the server is taught."""

from __future__ import annotations

import pytest

from robust_email.smtp import SubmissionClient, WirePolicy
from robust_email.testing import At, Extensions, Fault, Limits, Quirks, Reply, Script, ScriptedServer
from robust_email.testing.clock import FakeClock
from robust_email.testing.proxy import CuttableProxy
from tests.submission.relay import TRANSPORTS, audit, client_of, config_for, envelope, mail, submissions, words


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_commands_of_two_mails(transport: str) -> None:
    """What each server sees: RSET before the second mail where commands are pipelined, BDAT where it is offered."""
    content = "BDAT" if transport == "chunked" else "DATA"
    with ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server:
        with client_of(server) as client:
            for number in (1, 2):
                assert client.submit(envelope(), mail(number)).all_accepted
        first = ("EHLO", "MAIL", "RCPT", content)
        second = ("MAIL", "RCPT", content) if transport == "stepwise" else ("RSET", "MAIL", "RCPT", content)
        server.wait_for(lambda server: server.commands["QUIT"] == 1)
        assert server.transcript().verbs == (*first, *second, "QUIT")


RTT = 0.08


@pytest.mark.parametrize(("transport", "round_trips"), [("stepwise", 4), ("pipelined", 2), ("chunked", 1)])
def test_round_trips_per_mail_on_a_warm_session(transport: str, round_trips: int) -> None:
    """4, 2 and 1: measured over a line whose round trip outweighs everything else."""
    with (
        ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server,
        CuttableProxy(server.host, server.port, rtt=RTT) as proxy,
        client_of(proxy) as client,
    ):
        assert client.submit(envelope(), mail(0)).all_accepted
        seconds = min(client.submit(envelope(), mail(n)).seconds for n in range(1, 4))
        assert round_trips * RTT <= seconds < (round_trips + 0.8) * RTT


@pytest.mark.parametrize("wire", [WirePolicy(pipelining=False), WirePolicy(chunking=False)])
def test_extensions_can_be_left_unused(wire: WirePolicy) -> None:
    """EMAIL_PIPELINING off: step by step though the server offers more; chunking off: DATA."""
    with ScriptedServer() as server, client_of(server, wire=wire) as client:
        for number in range(3):
            assert client.submit(envelope(), mail(number)).all_accepted
        assert server.commands["BDAT"] == 0
        assert (server.commands["RSET"] > 0) == wire.pipelining


def test_bdat_is_never_said_where_it_was_not_offered() -> None:
    """CHUNKING without PIPELINING, or neither: the body would be read as commands."""
    for extensions in (Extensions(pipelining=False), Extensions(chunking=False), Extensions.none()):
        with ScriptedServer(Script(extensions=extensions)) as server, client_of(server) as client:
            assert client.submit(envelope(), mail()).all_accepted
            assert server.commands["BDAT"] == 0


@pytest.mark.parametrize("transport", ["pipelined", "chunked"])
def test_a_large_mail_waits_for_its_envelope(transport: str) -> None:
    """Refused recipients cost no upload; accepted ones get the mail on the same session."""
    large = mail(1, (b"x" * 70 + b"\r\n") * 3000)
    script = Script(extensions=TRANSPORTS[transport], faults=[Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")])
    with ScriptedServer(script) as server, client_of(server) as client:
        assert words(client.submit(envelope("bad"), large)) == {"bad": "refused"}
        assert len(server.transcript().received) < 500
        assert client.submit(envelope("ann"), large).all_accepted
        assert server.connections == 1


def test_after_idling_the_envelope_goes_first() -> None:
    """A session that was idle may be dead: what is learnt of it before the body leaves puts nothing in doubt."""
    clock = FakeClock()
    with ScriptedServer() as server:
        client = SubmissionClient(config_for(server), clock=clock, sleep=clock.sleep)
        assert client.submit(envelope(), mail(1)).all_accepted
        clock.advance(6.0)
        server.add_fault(Fault(At.MAIL, Reply("421 4.4.2 idle", close=True), times=1))
        report = client.submit(envelope(), mail(2))
        assert report.all_accepted
        assert b"BDAT" not in server.transcript(1).received.partition(b"RSET")[2]
        client.close()


def test_a_354_though_nobody_may_have_it() -> None:
    """RFC 2920 3.1: answered with an empty message whose reply means nothing; the session goes on."""
    refused = Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")
    script = Script(
        extensions=TRANSPORTS["pipelined"], quirks=Quirks(accept_data_without_recipients=True), faults=[refused]
    )
    with ScriptedServer(script) as server, client_of(server) as client:
        reports = [client.submit(envelope(name), mail(n)) for n, name in enumerate(("bad", "ann", "bad", "ann"))]
        assert [report.decisive.disposition.value for report in reports] == ["refused", "accepted"] * 2
        assert audit(reports, server.accepted) == []
        assert b"Message-ID: <0@" not in server.transcript().received
        assert server.connections == 1


@pytest.mark.parametrize(
    ("at", "code"), [(At.MAIL, 503), (At.RCPT, 503), (At.RCPT, 500), (At.DATA, 500), (At.BDAT, 502), (At.BDAT, 500)]
)
def test_a_server_that_mishandles_pipelining_is_served_step_by_step(at: At, code: int) -> None:
    """It offers the extension and calls pipelined commands unknown: remembered, and the mail arrives once."""
    transport = "chunked" if at is At.BDAT else "pipelined"
    fault = Fault(at, Reply(f"{code} 5.5.1 what?"), connection=1)
    with ScriptedServer(Script(extensions=TRANSPORTS[transport], faults=[fault])) as server:
        with client_of(server) as client:
            reports = [client.submit(envelope("ann"), mail(n)) for n in range(3)]
            assert all(report.all_accepted for report in reports)
            assert audit(reports, server.accepted) == []
            assert client.serves_stepwise
        assert server.connections == 2
        assert server.transcript(2).verbs.count("RSET") == 0


def test_a_503_for_one_recipient_does_not_double_the_others() -> None:
    """A code that looks like lost order, beside an accepted final reply: whoever has it does not get it twice."""
    fault = Fault(At.RCPT, Reply("503 5.5.1 not now"), subject="bad")
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server) as client:
        report = client.submit(envelope("ann", "bad"), mail())
        assert words(report) == {"ann": "accepted", "bad": "refused"}
        assert len(server.accepted) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("announced", [False, True])
def test_more_recipients_than_one_transaction_takes(transport: str, *, announced: bool) -> None:
    """452 after three, or LIMITS RCPTMAX=3: eight recipients in three transactions of one session, each once."""
    extensions = TRANSPORTS[transport]
    offered = Extensions(pipelining=extensions.pipelining, chunking=extensions.chunking, limits=announced)
    names = [f"r{n}" for n in range(8)]
    with ScriptedServer(Script(extensions=offered, limits=Limits(recipients=3))) as server, client_of(server) as client:
        report = client.submit(envelope(*names), mail())
        assert words(report) == dict.fromkeys(names, "accepted")
        assert [len(message.forward_paths) for message in server.accepted] == [3, 3, 2]
        assert server.connections == 1
        assert server.commands["RCPT"] == (8 if announced else 8 + 5 + 2)
        assert [attempt.number for attempt in report.attempts] == [1, 2, 3]


def test_a_transaction_that_takes_nobody_ends_the_further_ones() -> None:
    """452 for everybody is no progress: DEFERRED, and no endless loop."""
    fault = Fault(At.RCPT, Reply("452 4.5.3 too many"))
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server) as client:
        assert set(words(client.submit(envelope("ann", "bob"), mail())).values()) == {"deferred"}
        assert server.commands["MAIL"] == 1


def test_a_lost_transaction_amid_several_is_the_only_one_in_doubt() -> None:
    """Six recipients in two transactions, the second one cut after its end of data: three accepted, three in doubt."""
    script = Script(limits=Limits(recipients=3), faults=[Fault(At.BEFORE_FINAL, Reply("", close=True), message=2)])
    names = [f"r{n}" for n in range(6)]
    with ScriptedServer(script) as server, client_of(server) as client:
        report = client.submit(envelope(*names), mail())
        assert list(words(report).values()) == ["accepted"] * 3 + ["in-doubt"] * 3
        assert audit([report], server.accepted) == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_thousand_recipients(transport: str) -> None:
    """Every tenth refused: a verdict for each, in the envelope's order."""
    thousand = [f"r{n}" for n in range(1000)]
    fault = Fault(At.RCPT, Reply("550 5.1.1 no"), subject="0@")
    with (
        ScriptedServer(Script(extensions=TRANSPORTS[transport], faults=[fault])) as server,
        client_of(server) as client,
    ):
        report = client.submit(envelope(*thousand), mail())
        assert list(words(report)) == thousand
        assert [name for name, state in words(report).items() if state == "refused"] == thousand[::10]
        assert audit([report], server.accepted) == []


def test_single_mails_and_batches_share_the_session() -> None:
    """What a batch leaves behind is what the next single mail finds."""
    with ScriptedServer() as server, client_of(server) as client:
        assert client.submit(envelope(), mail(0)).all_accepted
        assert all(report.all_accepted for _, report in client.submit_many(submissions(10), window=4))
        assert client.submit(envelope(), mail(11)).all_accepted
        assert server.connections == 1

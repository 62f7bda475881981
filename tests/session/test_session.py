"""A session in a caller's hands, what listeners and transcripts hear of it, and corners of its transactions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp import Credentials, Deadline, Envelope, MailData, Phase, SubmissionClient
from robust_email.smtp.events import SessionClosed, SessionOpened, Submitted
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.protocol.states import Verb
from robust_email.testing import At, Close, Extensions, Fault, Reply, Script, ScriptedServer
from tests.submission.relay import TRANSPORTS, audit, client_of, config_for, envelope, mail, words

if TYPE_CHECKING:
    from robust_email.smtp.events import Event


def test_commands_of_the_caller_s_own() -> None:
    """A leased session takes single commands, and goes back to the pool ready for mail, whatever was left open."""
    with ScriptedServer() as server, client_of(server) as client:
        with client.lease() as session:
            assert session.command(Verb.NOOP, b"NOOP\r\n", Deadline.after(5.0)).code == 250
            assert session.command(Verb.MAIL, b"MAIL FROM:<a@example.org>\r\n", Deadline.after(5.0)).code == 250
        assert client.submit(envelope(), mail()).all_accepted
        assert server.accepted[0].reverse_path == "shop@example.org"
        assert server.connections == 1


def test_a_command_that_fails_costs_the_session() -> None:
    """The line lost under a command: the error says where, and the session is not offered again."""
    with ScriptedServer(Script(faults=[Fault(At.NOOP, Close())])) as server, client_of(server) as client:
        with client.lease() as session:
            with pytest.raises(SessionFailure) as caught:
                session.command(Verb.NOOP, b"NOOP\r\n", Deadline.after(5.0))
            assert caught.value.failure.kind is FailureKind.CLOSED
        assert client.pool.stats().idle == 0
        assert client.submit(envelope(), mail()).all_accepted


def test_a_session_with_a_reply_outstanding_is_not_pooled() -> None:
    """A caller who leaves before the answer: the next one would read it as his own."""
    with ScriptedServer() as server, client_of(server) as client:
        with client.lease() as session:
            session.dialogue.say(Verb.NOOP, b"NOOP\r\n")
            session.dialogue.flush_now()
        assert client.pool.stats().idle == 0


def test_listeners_hear_what_happens_and_cost_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Opened, submitted, closed, in this order; a listener that raises is logged and the mail is accepted."""
    events: list[Event] = []

    def listener(event: Event) -> None:
        events.append(event)
        raise LookupError("a broken metric")

    with ScriptedServer() as server, caplog.at_level(logging.ERROR, "robust_email"):
        client = SubmissionClient(config_for(server), listener=listener)
        report = client.submit(envelope(), mail())
        client.close()
    assert report.all_accepted
    assert [type(event) for event in events] == [SessionOpened, Submitted, SessionClosed]
    opened, submitted, closed = events
    assert isinstance(opened, SessionOpened)
    assert (opened.attempt, opened.tls, opened.endpoint) == (1, None, f"127.0.0.1:{server.port}")
    assert isinstance(submitted, Submitted)
    assert submitted.report is report
    assert isinstance(closed, SessionClosed)
    assert (closed.reason, closed.transactions) == ("pool closed", 1)
    assert len(caplog.records) == 3


def test_a_transcript_holds_the_dialogue_and_no_secret() -> None:
    """Verbs and codes as they went; passwords, challenges, addresses and the mail itself masked."""
    script = Script(accounts={"shop": "CANARY-PW"}, extensions=Extensions(auth=["LOGIN"], chunking=False))
    lines: list[tuple[str, str]] = []
    with ScriptedServer(script) as server:
        client = SubmissionClient(
            config_for(server, credentials=Credentials("shop", "CANARY-PW")),
            transcript=lambda: lambda who, text: lines.append((who, text)),
        )
        assert client.submit(envelope("ann"), mail(1, b"CANARY-BODY\r\n")).all_accepted
        client.close()
    said = [text.split(" ")[0] for who, text in lines if who == "C"]
    assert [word for word in said if word.isupper()] == ["EHLO", "AUTH", "MAIL", "RCPT", "DATA", "QUIT"]
    whole = "\n".join(text for _, text in lines)
    assert "CANARY" not in whole
    assert "ann@example.org" not in whole
    assert "octets and the end of data" in whole
    assert "334 ***" in whole
    assert "250 2.0.0 Accepted as 1" in whole


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_refusal_before_a_goodbye_stands(transport: str) -> None:
    """550 for one recipient, 421 for the next: the first is REFUSED, the others are DEFERRED by the goodbye."""
    faults = [
        Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad"),
        Fault(At.RCPT, Reply("421 4.3.2 bye"), subject="bob"),
    ]
    with ScriptedServer(Script(extensions=TRANSPORTS[transport], faults=faults)) as server, client_of(server) as client:
        report = client.submit(envelope("ann", "bad", "bob", "cat"), mail())
        assert words(report) == {"ann": "deferred", "bad": "refused", "bob": "deferred", "cat": "deferred"}
        assert report.verdicts["bob@example.org"].phase is Phase.RCPT
        assert audit([report], server.accepted) == []
        assert client.pool.stats().idle == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_goodbye_to_a_recipient_that_is_none(transport: str) -> None:
    """421 to the second recipient from a server that goes on all the same: no verdict says more than was said."""
    fault = Fault(At.RCPT, Reply("421 4.3.2 bye", close=False), subject="bob")
    with ScriptedServer(Script(extensions=TRANSPORTS[transport], faults=[fault])) as server:
        with client_of(server) as client:
            report = client.submit(envelope("ann", "bob"), mail())
            assert client.pool.stats().idle == 0
        server.wait_for(lambda server: server.transcript().closed)
        assert words(report)["bob"] == "deferred"
        assert audit([report], server.accepted) == []
        if transport != "chunked":
            assert server.accepted == [], "after a 421 the message is not offered"


def test_eight_bits_that_cannot_be_downgraded_are_refused_before_mail() -> None:
    """No 8BITMIME, and a signature that re-encoding would break: refused, with the words of what to do."""
    data = MailData.from_bytes(
        b"Message-ID: <8@example.org>\r\nDKIM-Signature: v=1\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    )
    script = Script(extensions=Extensions(eight_bit_mime=False))
    with ScriptedServer(script) as server, client_of(server) as client:
        report = client.submit(Envelope.of("shop@example.org", ["ann@example.org"]), data)
        assert words(report) == {"ann": "refused"}
        assert "8BITMIME" in report.decisive.reason
        assert "MAIL" not in server.transcript().verbs


def test_a_report_in_its_parts() -> None:
    """The report's own questions, over a mail that met everything at once."""
    faults = [
        Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad"),
        Fault(At.RCPT, Reply("451 4.7.1 later"), subject="later"),
    ]
    with ScriptedServer(Script(faults=faults)) as server, client_of(server) as client:
        report = client.submit(envelope("ann", "bad", "later"), mail(7))
    assert report.accepted == ("ann@example.org",)
    assert report.refused == ("bad@example.org",)
    assert report.deferred == report.retryable == ("later@example.org",)
    assert report.in_doubt == ()
    assert not report.all_accepted
    assert report.decisive.disposition.value == "deferred"
    assert report.final_reply is not None
    assert str(report.final_reply) == "250 2.0.0 Accepted as 1"
    assert report.message_id == "<7@example.org>"
    assert report.session is not None
    assert [attempt.phase for attempt in report.attempts] == [Phase.AWAIT_FINAL]

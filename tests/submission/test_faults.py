"""Each fault at each moment of a transaction, written in each way: what the verdict is, and what the server took.

The expectations follow from two facts per case, written down here as data: what the server answered, and whether the
end-of-data mark had left the client by then.
"""

from __future__ import annotations

import itertools
import smtplib

import pytest

from robust_email.smtp import Phase, Timeouts, error_for
from robust_email.smtp import errors as kinds
from robust_email.testing import (
    Action,
    At,
    Close,
    CloseAfterBytes,
    Extra,
    Fault,
    Flood,
    Garbage,
    Reply,
    Reset,
    Script,
    ScriptedServer,
    Stall,
)
from tests.submission.relay import PATIENT, TRANSPORTS, audit, client_of, envelope, mail, words

MOMENTS = {
    "stepwise": (At.MAIL, At.RCPT, At.DATA, At.BODY, At.BEFORE_FINAL, At.FINAL),
    "pipelined": (At.MAIL, At.RCPT, At.DATA, At.BODY, At.BEFORE_FINAL, At.FINAL),
    "chunked": (At.MAIL, At.RCPT, At.BDAT, At.BODY, At.BEFORE_FINAL, At.FINAL),
}
"""What there is to go wrong between MAIL and the final reply. At FINAL alone the server has taken the mail."""

MARK_HAS_LEFT = {
    "stepwise": {At.BODY, At.BEFORE_FINAL, At.FINAL},
    "pipelined": {At.BODY, At.BEFORE_FINAL, At.FINAL},
    "chunked": {At.MAIL, At.RCPT, At.BDAT, At.BODY, At.BEFORE_FINAL, At.FINAL},
}
"""The moments at which a small mail is with the server whole: with CHUNKING it leaves together with its envelope."""

REFUSALS: dict[str, tuple[Action, str]] = {
    "4yz": (Reply("451 4.3.0 later"), "deferred"),
    "unknown 4yz": (Reply("499 what is this"), "deferred"),
    "5yz": (Reply("554 5.0.0 never"), "refused"),
    "unknown 5yz": (Reply("599 what is this"), "refused"),
    "4yz of several lines": (Reply("451-4.3.0 not\n451 4.3.0 now"), "deferred"),
    "421": (Reply("421 4.3.2 shutting down"), "deferred"),
}
LOSSES: dict[str, Action] = {
    "close": Close(),
    "reset": Reset(),
    "stall": Stall(),
    "half a reply": CloseAfterBytes(3),
    "garbage": Garbage(),
    "another protocol": Garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "flood of lines": Flood(),
    "flood without a line": Flood(b"250-" + b"x" * 500),
}
ODD: dict[str, Action] = {
    "in odd segments": Reply(split=(1, 2, 5), gap=0.001),
    "late": Reply(delay=0.02),
}
SHORT = Timeouts(opening=10.0, command=0.4, block=0.4, final_reply=0.4)
"""For a server that says nothing more; with any other fault a busy machine gets all the time it needs."""


def patience_with(action: Action) -> Timeouts:
    """Short where the fault is silence."""
    return SHORT if isinstance(action, Stall) else PATIENT


CASES = [(transport, at) for transport, moments in MOMENTS.items() for at in moments]
"""Transport and moment."""
LOSING = [
    (transport, at, name)
    for (transport, at), name in itertools.product(CASES, LOSSES)
    if (at, name) != (At.BODY, "half a reply")  # amid the body there is no usual reply to cut in half
]


def after(server: ScriptedServer, transport: str, action: Action, at: At, *, timeouts: Timeouts) -> tuple[str, Phase]:
    """Submit a mail into the fault and another behind it; audit both; return the first one's verdict."""
    server.add_fault(Fault(at, action, times=1, after=1))
    with client_of(server, timeouts=timeouts) as client:
        first = client.submit(envelope("ann"), mail(1))
        second = client.submit(envelope("ann"), mail(2))
        assert second.all_accepted, "the fault had spoiled the next mail"
        assert client.pool.stats().leased == 0
    server.wait_for(lambda server: all(transcript.closed for transcript in server.transcripts))
    assert audit([first, second], server.accepted) == []
    assert {message.message_id for message in server.accepted} >= {"<2@example.org>"}
    return words(first)["ann"], first.decisive.phase


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize(("transport", "at"), [(t, a) for t, a in CASES if a is not At.FINAL])
def test_a_refusal_is_what_the_server_said(transport: str, at: At, name: str) -> None:
    """A refusing reply decides, wherever it comes: DEFERRED for 4yz and 421, REFUSED for 5yz; nothing was taken."""
    action, expected = REFUSALS[name]
    with ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server:
        state, _ = after(server, transport, action, at, timeouts=Timeouts.uniform(10.0))
        assert state == expected
        assert [message.message_id for message in server.accepted] == ["<2@example.org>"]


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("transport", ["stepwise", "pipelined"])
def test_a_refusal_right_behind_the_354_is_one(transport: str, name: str) -> None:
    """The server changes its mind before an octet of the message is there: the reply counts, the message stays here."""
    action, expected = REFUSALS[name]
    assert isinstance(action, Reply)
    both = Reply(f"354 go on\n{action.text}", close=True)
    with ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server:
        state, _ = after(server, transport, both, At.DATA, timeouts=Timeouts.uniform(10.0))
        assert state == expected
        assert b"Subject" not in server.transcript(1).received


@pytest.mark.parametrize(("transport", "at", "name"), LOSING)
def test_a_loss_is_in_doubt_exactly_behind_the_mark(transport: str, at: At, name: str) -> None:
    """Whatever ends the session: before the end of data has left it is DEFERRED, after it IN_DOUBT, and never more."""
    with ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server:
        state, phase = after(server, transport, LOSSES[name], at, timeouts=patience_with(LOSSES[name]))
        left = at in MARK_HAS_LEFT[transport]
        assert state == ("in-doubt" if left else "deferred")
        assert (phase is Phase.AWAIT_FINAL) == left
        taken = [message.message_id for message in server.accepted]
        assert ("<1@example.org>" in taken) == (at is At.FINAL)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(("transport", "at"), CASES)
def test_odd_segments_and_delays_change_nothing(transport: str, at: At, name: str) -> None:
    """The usual reply in pieces, or late but in time, is the usual reply."""
    with ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server:
        state, _ = after(server, transport, ODD[name], at, timeouts=Timeouts.uniform(10.0))
        assert state == "accepted"
        assert server.connections == 1


SYNCHRONISED = [(t, a) for t, a in CASES if a is not At.BODY and t != "chunked"]
"""Where an extra line shows: 354 comes to DATA alone. BDAT has no such landmark (see test_shifted_replies)."""


@pytest.mark.parametrize(("transport", "at"), SYNCHRONISED)
def test_a_line_that_nobody_asked_for_is_attributed_to_nobody(transport: str, at: At) -> None:
    """S19. An extra 250 behind any reply: whatever is said of this mail is true, and a later 550 is seen as one."""
    script = Script(
        extensions=TRANSPORTS[transport],
        faults=[Fault(at, Extra(), times=1), Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")],
    )
    with ScriptedServer(script) as server, client_of(server) as client:
        reports = [client.submit(envelope("ann", "bob"), mail(1)), client.submit(envelope("bad", "cat"), mail(2))]
    server_view = {message.message_id: message.forward_paths for message in server.accepted}
    assert words(reports[1]) == {"bad": "refused", "cat": "accepted"}
    assert server_view["<2@example.org>"] == ("cat@example.org",)
    assert audit(reports, server.accepted) == []


@pytest.mark.parametrize("at", [At.GREETING, At.EHLO])
@pytest.mark.parametrize("name", [*LOSSES, "4yz", "421"])
def test_a_fault_while_opening_loses_nothing(at: At, name: str) -> None:
    """No session: DEFERRED by the endpoint, nothing of the mail has left, and the next attempt succeeds."""
    action = LOSSES.get(name) or REFUSALS[name][0]
    with ScriptedServer() as server:
        state, phase = after(server, "chunked", action, at, timeouts=patience_with(action))
        assert state == "deferred"
        # On a busy machine a reset may come in before the connection is known to be made.
        assert phase.value == at.value.lower() or (name == "reset" and phase is Phase.CONNECT)
        assert "MAIL" not in server.transcript(1).verbs


@pytest.mark.parametrize(("transport", "at"), list(itertools.product(TRANSPORTS, [At.RSET, At.QUIT])))
@pytest.mark.parametrize("action", [Close(), Reset(), Stall(), Garbage(), Reply("421 4.3.2 bye"), Reply("554 no")])
def test_trouble_after_acceptance_is_nobody_s_loss(transport: str, at: At, action: Action) -> None:
    """RSET refused or QUIT unanswered after a 250: that mail stays accepted, the next one goes its way once."""
    script = Script(extensions=TRANSPORTS[transport], faults=[Fault(at, action, times=1)])
    with ScriptedServer(script) as server:
        with client_of(server, timeouts=patience_with(action)) as client:
            first = client.submit(envelope(), mail(1))
            assert first.all_accepted
            second = client.submit(envelope(), mail(2))
            # Behind a pipelined RSET the next mail had left already where the message rides with it.
            assert words(second)["ann"] in {"accepted", "in-doubt"}
            assert second.all_accepted or transport == "chunked"
        assert audit([first, second], server.accepted) == []


@pytest.mark.parametrize(
    ("at", "reply", "kind", "attributes"),
    [
        (At.MAIL, "550 5.7.1 no", kinds.SenderRefused, {"smtp_code": 550, "smtp_error": b"5.7.1 no", "sender": "me"}),
        (At.RCPT, "451 4.2.0 no", kinds.RecipientsRefused, {"recipients": {"ann@example.org": (451, b"4.2.0 no")}}),
        (At.BDAT, "554 5.6.0 no", kinds.DataRefused, {"smtp_code": 554, "smtp_error": b"5.6.0 no"}),
        (At.BDAT, "421 4.3.2 bye", kinds.DataRefused, {"smtp_code": 421, "smtp_error": b"4.3.2 bye"}),
        (At.MAIL, "530 5.7.0 log in", kinds.ServerMisconfigured, {"smtp_code": 530}),
        (At.GREETING, "554 5.3.2 no", kinds.SessionRefused, {"smtp_code": 554}),
        (At.EHLO, "550 5.7.1 your name", kinds.GreetingNameRefused, {"smtp_code": 550}),
    ],
)
def test_the_exception_for_a_verdict(at: At, reply: str, kind: type, attributes: dict[str, object]) -> None:
    """A caller who wants exceptions gets smtplib's kind with its attributes, the phase, the endpoint and the report."""
    with ScriptedServer(Script(faults=[Fault(at, Reply(reply))])) as server, client_of(server) as client:
        report = client.submit(envelope(), mail())
        error = error_for(report, sender="me")
        assert type(error) is kind
        assert {name: getattr(error, name) for name in attributes} == attributes
        assert error is not None
        assert error.endpoint == f"127.0.0.1:{server.port}"
        assert reply[:3] in str(error)
        assert "ann@example.org" not in str(error)


def test_the_exception_for_a_mail_in_doubt_is_no_disconnection() -> None:
    """InDoubt names the Message-ID and is not what code that reconnects and repeats would catch."""
    with ScriptedServer(Script(faults=[Fault(At.FINAL, Close())])) as server, client_of(server) as client:
        error = error_for(client.submit(envelope(), mail(7)))
        assert type(error) is kinds.InDoubt
        assert not isinstance(error, smtplib.SMTPServerDisconnected)
        assert not isinstance(error, ConnectionError)
        assert "<7@example.org>" in str(error)
        assert "twice" in str(error)

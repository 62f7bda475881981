"""The state table checked as a table, and its machine driven through every legal and illegal step."""

from __future__ import annotations

import itertools

import pytest

from robust_email.smtp.protocol.client import ClientProtocol, IllegalCommandError
from robust_email.smtp.protocol.replies import ReplyClass
from robust_email.smtp.protocol.states import MAY_SEND, TRANSITIONS, SessionState, Verb, after_reply, if_it_succeeds

S, V = SessionState, Verb

# How to come to each state from the start: what is said (nothing for the greeting), and what is answered.
WAYS: dict[SessionState, list[tuple[Verb, bytes]]] = {
    S.AWAIT_GREETING: [],
    S.IDENTIFY: [(V.CONNECT, b"220 hi")],
    S.READY: [(V.CONNECT, b"220 hi"), (V.EHLO, b"250 hi")],
    S.TLS_PENDING: [(V.CONNECT, b"220 hi"), (V.EHLO, b"250 hi"), (V.STARTTLS, b"220 go")],
    S.AUTHENTICATING: [(V.CONNECT, b"220 hi"), (V.EHLO, b"250 hi"), (V.AUTH, b"334 ")],
    S.TRANSACTION: [(V.CONNECT, b"220 hi"), (V.EHLO, b"250 hi"), (V.MAIL, b"250 ok")],
    S.DATA: [
        (V.CONNECT, b"220 hi"),
        (V.EHLO, b"250 hi"),
        (V.MAIL, b"250 ok"),
        (V.RCPT, b"250 ok"),
        (V.DATA, b"354 go"),
    ],
    S.MUST_QUIT: [(V.CONNECT, b"554 no")],
}


def say(protocol: ClientProtocol, verb: Verb) -> None:
    """Say a command and hand it over."""
    protocol.send(verb, b"command\r\n")
    protocol.wrote(protocol.unwritten)


def brought_to(state: SessionState) -> ClientProtocol:
    """A protocol in the state."""
    protocol = ClientProtocol()
    for verb, answer in WAYS.get(state, []):
        if verb is not V.CONNECT:
            say(protocol, verb)
        protocol.receive(answer + b"\r\n")
        assert protocol.next_reply() is not None
    if state is S.AWAIT_FINAL:
        protocol = brought_to(S.DATA)
        say(protocol, V.END_OF_DATA)
    if state is S.CLOSED:
        protocol.connection_ended()
    assert protocol.state is state
    return protocol


@pytest.mark.parametrize("state", SessionState)
def test_every_state_can_be_reached(state: SessionState) -> None:
    """By the dialogue alone, no attribute set by hand."""
    brought_to(state)


@pytest.mark.parametrize(("state", "verb"), list(itertools.product(SessionState, Verb)))
def test_an_illegal_command_changes_nothing(state: SessionState, verb: Verb) -> None:
    """What the table does not allow raises, queues no octet and leaves the state as it was; the rest is queued."""
    protocol = brought_to(state)
    unwritten, outstanding = protocol.unwritten, protocol.outstanding
    if verb in MAY_SEND[protocol.assumed_state]:
        protocol.send(verb, b"command\r\n")
        assert protocol.unwritten == unwritten + len(b"command\r\n")
        return
    with pytest.raises(IllegalCommandError, match="not legal"):
        protocol.send(verb, b"command\r\n")
    assert (protocol.state, protocol.unwritten, protocol.outstanding) == (state, unwritten, outstanding)


def test_the_table_says_each_thing_once() -> None:
    """No two rows for the same state, verb and class."""
    keys = [(t.state, t.verb, klass) for t in TRANSITIONS for klass in t.classes]
    assert len(keys) == len(set(keys))


def test_every_command_that_may_be_said_has_an_answer_to_hope_for_and_one_to_fear() -> None:
    """Each legal command has a row for success, and one for refusal; STARTTLS' handshake alone can only break."""
    for state, verbs in MAY_SEND.items():
        for verb in verbs - {V.QUIT}:
            if_it_succeeds(state, verb)
            if verb is not V.TLS:
                assert after_reply(state, verb, 450) is not None, (state, verb)
                assert after_reply(state, verb, 550) is not None, (state, verb)


def test_terminal_states_admit_nothing_and_all_others_can_be_left() -> None:
    """CLOSED has no way out, MUST_QUIT only QUIT; a 421 and the end of the connection lead there from everywhere."""
    assert MAY_SEND[S.CLOSED] == MAY_SEND[S.AWAIT_FINAL] == MAY_SEND[S.AWAIT_GREETING] == frozenset()
    assert MAY_SEND[S.MUST_QUIT] == {V.QUIT}
    left = {t.state for t in TRANSITIONS if t.then is not t.state}
    assert left == set(SessionState) - {S.MUST_QUIT, S.CLOSED}
    assert set(MAY_SEND) == set(SessionState)


@pytest.mark.parametrize(("state", "verb"), list(itertools.product(SessionState, Verb)))
def test_421_ends_the_session_wherever_it_comes(state: SessionState, verb: Verb) -> None:
    """RFC 5321 3.8: whatever was asked, after 421 there is only the end."""
    expected = S.CLOSED if verb is V.QUIT else S.MUST_QUIT
    assert after_reply(state, verb, 421) is expected


@pytest.mark.parametrize("klass", ReplyClass)
def test_the_final_mark_is_answered_once_and_for_all(klass: ReplyClass) -> None:
    """Any reply to the end of data, whatever its class, ends the wait: nothing is awaited twice."""
    for state in (S.DATA, S.AWAIT_FINAL):
        assert after_reply(state, V.END_OF_DATA, klass * 100) is S.READY
    for state in (S.TRANSACTION, S.AWAIT_FINAL):
        assert after_reply(state, V.BDAT_LAST, klass * 100) is S.READY
    assert [verb for verb in Verb if verb.carries_final_mark] == [V.END_OF_DATA, V.BDAT_LAST]


def test_a_refused_rset_is_the_end() -> None:
    """RSET has no refusal in RFC 5321; a server that gives one is leaving, or has lost count."""
    for state in (S.READY, S.TRANSACTION):
        assert after_reply(state, V.RSET, 250) is S.READY
        assert after_reply(state, V.RSET, 554) is S.MUST_QUIT
        assert after_reply(state, V.RSET, 354) is None

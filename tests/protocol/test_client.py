"""The client's half of the dialogue: replies matched by order, octets counted, and AWAIT_FINAL read off the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.protocol.client import ClientProtocol, ProtocolViolationError, Sent
from robust_email.smtp.protocol.states import SessionState, Verb

S, V = SessionState, Verb
GROUP = ((V.MAIL, b"MAIL FROM:<a@b.test>\r\n"), (V.RCPT, b"RCPT TO:<c@d.test>\r\n"))
BODY = b"Subject: x\r\n\r\nhello\r\n"


def ready() -> ClientProtocol:
    """A session after its EHLO."""
    protocol = ClientProtocol()
    protocol.receive(b"220 hi\r\n")
    assert protocol.next_reply() is not None
    protocol.send(V.EHLO, b"EHLO me.test\r\n")
    protocol.wrote(protocol.unwritten)
    protocol.receive(b"250-hi\r\n250 PIPELINING\r\n")
    assert protocol.next_reply() is not None
    return protocol


def chunked(protocol: ClientProtocol, body: bytes = BODY) -> list[Sent]:
    """Queue a transaction as CHUNKING servers get it, in one go."""
    sent = [protocol.send(verb, line, token=verb.value) for verb, line in GROUP]
    return [*sent, protocol.send(V.BDAT_LAST, b"BDAT %d LAST\r\n" % len(body), body)]


def replies(protocol: ClientProtocol, octets: bytes) -> list[tuple[Verb, int]]:
    """Receive, and give all replies with the commands they answer."""
    protocol.receive(octets)
    found = []
    while (pair := protocol.next_reply()) is not None:
        found.append((pair[0].verb, pair[1].code))
    return found


def write_all(protocol: ClientProtocol) -> None:
    """Hand over everything that is queued."""
    protocol.wrote(protocol.unwritten)


def test_pipelined_replies_are_matched_in_order() -> None:
    """Commands said in one go get their replies one by one, in however many segments they come."""
    protocol = ready()
    sent = chunked(protocol)
    write_all(protocol)
    assert replies(protocol, b"250 ok\r\n250") == [(V.MAIL, 250)]
    assert protocol.outstanding is sent[1]
    assert replies(protocol, b" ok\r\n250 taken\r\n") == [(V.RCPT, 250), (V.BDAT_LAST, 250)]
    assert protocol.state is S.READY


def test_replies_to_a_refused_envelope_keep_their_order() -> None:
    """MAIL refused: RCPT and DATA behind it are answered too, and the session is ready for the next."""
    protocol = ready()
    for verb, line in (*GROUP, (V.DATA, b"DATA\r\n")):
        protocol.send(verb, line)
    write_all(protocol)
    answers = replies(protocol, b"550 no\r\n503 no\r\n503 no\r\n")
    assert answers == [(V.MAIL, 550), (V.RCPT, 503), (V.DATA, 503)]
    assert protocol.state is S.READY
    chunked(protocol)


def test_a_354_without_recipients_awaits_the_message() -> None:
    """RFC 2920 3.1 allows 354 though every RCPT was refused; the state is DATA, and only its end may be said."""
    protocol = ready()
    for verb, line in (*GROUP, (V.DATA, b"DATA\r\n")):
        protocol.send(verb, line)
    write_all(protocol)
    assert replies(protocol, b"250 ok\r\n550 no\r\n354 go\r\n") == [(V.MAIL, 250), (V.RCPT, 550), (V.DATA, 354)]
    assert protocol.state.value == "data"
    protocol.send(V.END_OF_DATA, b".\r\n")
    write_all(protocol)
    assert replies(protocol, b"554 no recipients\r\n") == [(V.END_OF_DATA, 554)]
    assert protocol.state.value == "ready"


@given(st.data())
def test_a_message_may_be_taken_exactly_when_its_last_octet_was_handed_over(data: st.DataObject) -> None:
    """Counted over any sizes of writes and any number of messages in flight: not one octet earlier or later."""
    protocol = ready()
    bodies = data.draw(st.lists(st.binary(max_size=30), min_size=1, max_size=4))
    start, ends, position = protocol.unwritten, [], 0
    marks = []
    for number, body in enumerate(bodies):
        if number:
            protocol.send(V.RSET, b"RSET\r\n")
            position += 6
        marks.append(chunked(protocol, body)[-1])
        position += sum(len(line) for _, line in GROUP) + len(b"BDAT %d LAST\r\n" % len(body)) + len(body)
        ends.append(position)
    assert protocol.unwritten == position - start
    written = 0
    while protocol.unwritten:
        assert sum(map(len, protocol.octets_to_write())) == position - written
        count = data.draw(st.integers(1, protocol.unwritten))
        protocol.wrote(count)
        written += count
        assert [protocol.may_have_been_taken(mark) for mark in marks] == [end <= written for end in ends]


@given(st.integers(0, 200), st.integers(0, 3))
def test_await_final_is_entered_with_the_last_octet_and_after_the_envelope(written: int, answered: int) -> None:
    """AWAIT_FINAL: the mark is handed over and every earlier reply is in and good; the two in either order."""
    protocol = ready()
    sent = chunked(protocol)
    total = protocol.unwritten
    envelope = sum(len(line) for _, line in GROUP)
    written = max(min(written, total), envelope if answered else 0)
    answered = min(answered, 2)
    protocol.wrote(written)
    replies(protocol, b"250 ok\r\n" * answered)
    expected = {0: S.READY, 1: S.TRANSACTION, 2: S.AWAIT_FINAL if written == total else S.TRANSACTION}
    assert protocol.state is expected[answered]
    protocol.wrote(total - written)
    assert protocol.may_have_been_taken(sent[-1])
    assert protocol.state is (S.AWAIT_FINAL if answered == 2 else expected[answered])


def test_a_refusal_that_comes_while_the_message_is_being_written_ends_the_writing() -> None:
    """552 amid the body: what is left of it would be read as commands, so not another octet is offered."""
    protocol = ready()
    sent = chunked(protocol)
    protocol.wrote(protocol.unwritten - 5)
    assert replies(protocol, b"250 ok\r\n250 ok\r\n552 too large\r\n")[-1] == (V.BDAT_LAST, 552)
    assert protocol.state is S.MUST_QUIT
    assert (protocol.unwritten, protocol.octets_to_write()) == (0, ())
    assert not protocol.may_have_been_taken(sent[-1])


def test_a_goodbye_amid_a_window_ends_the_writing() -> None:
    """421 to the first of two messages: the second, of which nothing left yet, is not written any more."""
    protocol = ready()
    chunked(protocol)
    first = protocol.unwritten
    protocol.send(V.RSET, b"RSET\r\n")
    second = chunked(protocol)
    protocol.wrote(first)
    assert replies(protocol, b"421 bye\r\n") == [(V.MAIL, 421)]
    assert protocol.unwritten == 0
    assert not protocol.may_have_been_taken(second[-1])
    assert protocol.closing_reply is not None


@pytest.mark.parametrize("early", [b"250 taken\r\n", b"354 go\r\n"])
def test_a_yes_to_what_was_not_yet_asked_is_no_answer(early: bytes) -> None:
    """A positive reply before the whole command left is a server that lost count; the dialogue is closed."""
    protocol = ready()
    chunked(protocol)
    protocol.wrote(protocol.unwritten - 5)
    with pytest.raises(ProtocolViolationError, match="answered BDAT LAST"):
        replies(protocol, b"250 ok\r\n250 ok\r\n" + early)
    assert protocol.state is S.CLOSED


def test_what_nobody_asked_for_is_no_reply() -> None:
    """A line between transactions belongs to no command, and is not kept for the next one."""
    protocol = ready()
    with pytest.raises(ProtocolViolationError, match="unasked: 250 hello") as caught:
        replies(protocol, b"250 hello\r\n")
    assert caught.value.reply is not None
    assert protocol.state is S.MUST_QUIT


def test_a_goodbye_behind_the_last_reply_takes_nothing_back() -> None:
    """250 and 421 in one segment: the message was taken, the session ends."""
    protocol = ready()
    chunked(protocol)
    write_all(protocol)
    answers = replies(protocol, b"250 ok\r\n250 ok\r\n250 taken\r\n421 too many messages\r\n")
    assert answers[-1] == (V.BDAT_LAST, 250)
    assert protocol.state is S.MUST_QUIT
    assert protocol.closing_reply is not None


@pytest.mark.parametrize("surplus", [b"250 more\r\n", b"2", b"garbage\r\n", b"550 no\r\n"])
def test_a_reply_too_many_behind_a_group_discredits_its_last(surplus: bytes) -> None:
    """Four replies to three commands: which one is the surplus cannot be known, so the last is not believed."""
    protocol = ready()
    chunked(protocol)
    write_all(protocol)
    protocol.receive(b"250 ok\r\n250 ok\r\n250 taken\r\n" + surplus)
    assert protocol.next_reply() is not None
    assert protocol.next_reply() is not None
    with pytest.raises(ProtocolViolationError, match="more than was asked"):
        protocol.next_reply()


def test_a_reply_too_many_behind_a_lone_end_of_data_changes_nothing_but_the_session() -> None:
    """The reply to an end of data that was awaited alone is its own; the session is not used again."""
    protocol = ready()
    for verb, line in (*GROUP, (V.DATA, b"DATA\r\n")):
        protocol.send(verb, line)
    write_all(protocol)
    replies(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.send(V.END_OF_DATA, BODY + b".\r\n")
    write_all(protocol)
    protocol.receive(b"250 taken\r\n250 nobody asked\r\n")
    pair = protocol.next_reply()
    assert pair is not None
    assert (pair[0].verb, pair[1].code, protocol.state) == (V.END_OF_DATA, 250, S.MUST_QUIT)


def test_octets_behind_the_reply_to_starttls_are_an_injection() -> None:
    """What came in the clear is not carried into the encrypted dialogue (RFC 3207 4.2, CVE-2011-0411)."""
    protocol = ready()
    protocol.send(V.STARTTLS, b"STARTTLS\r\n")
    write_all(protocol)
    assert replies_once(protocol, b"220 go\r\n250-injected\r\n") == (V.STARTTLS, 220)
    assert protocol.has_buffered_input
    with pytest.raises(ProtocolViolationError, match="in clear"):
        protocol.tls_established()


def replies_once(protocol: ClientProtocol, octets: bytes) -> tuple[Verb, int]:
    """Receive, and give the first reply alone."""
    protocol.receive(octets)
    pair = protocol.next_reply()
    assert pair is not None
    return pair[0].verb, pair[1].code


def test_tls_starts_the_dialogue_anew() -> None:
    """After the handshake nothing is known and EHLO comes first."""
    protocol = ready()
    protocol.send(V.STARTTLS, b"STARTTLS\r\n")
    write_all(protocol)
    assert replies(protocol, b"220 go\r\n") == [(V.STARTTLS, 220)]
    protocol.tls_established()
    assert protocol.state is S.IDENTIFY


def test_the_end_of_the_connection_drops_what_was_not_written() -> None:
    """Nothing is written after it, and the count of what was written stays true."""
    protocol = ready()
    sent = chunked(protocol)
    protocol.wrote(10)
    protocol.connection_ended()
    assert (protocol.state, protocol.unwritten) == (S.CLOSED, 0)
    assert not protocol.may_have_been_taken(sent[-1])


@pytest.mark.parametrize(
    ("before", "verb", "answer"),
    [
        (b"", V.EHLO, b"354 what?"),
        (b"", V.MAIL, b"354 what?"),
        (b"250 ok\r\n", V.RCPT, b"354 what?"),
        (b"250 ok\r\n250 ok\r\n", V.DATA, b"250 what?"),
    ],
)
def test_a_reply_that_its_command_cannot_have_closes_the_dialogue(before: bytes, verb: Verb, answer: bytes) -> None:
    """A class outside the table is a violation: the replies may have shifted by one."""
    protocol = ready()
    if verb is V.EHLO:
        protocol.send(V.EHLO, b"EHLO me.test\r\n")
    else:
        for each, line in (*GROUP, (V.DATA, b"DATA\r\n")):
            protocol.send(each, line)
    write_all(protocol)
    with pytest.raises(ProtocolViolationError, match=f"answered {verb.value}"):
        replies(protocol, before + answer + b"\r\n")
    assert protocol.state is S.CLOSED

"""The reply reader: the same replies however the octets are cut, and a bound on everything a peer may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.protocol.replies import (
    MAX_LINE,
    MAX_REPLY,
    EnhancedStatusCode,
    Reply,
    ReplyClass,
    ReplyReader,
    ReplySyntaxError,
    printable,
)

WIRE_AND_REPLIES = [
    (b"220 mx.example.org ESMTP\r\n", [Reply(220, (b"mx.example.org ESMTP",))]),
    (b"250-mx\r\n250-SIZE 1000\r\n250 HELP\r\n", [Reply(250, (b"mx", b"SIZE 1000", b"HELP"))]),
    (b"250\r\n", [Reply(250, (b"",))]),
    (b"250-\r\n250 \r\n", [Reply(250, (b"", b""))]),
    (b"250-a\r\n250\r\n", [Reply(250, (b"a", b""))]),
    (b"250 lone LF\n354 go\n", [Reply(250, (b"lone LF",)), Reply(354, (b"go",))]),
    (
        b"250 2.1.0 ok\r\n550 5.1.1 no\r\n354 go\r\n",
        [Reply(250, (b"2.1.0 ok",)), Reply(550, (b"5.1.1 no",)), Reply(354, (b"go",))],
    ),
    (b"599 \xff\xfe\x00\x1b[31m\r\n", [Reply(599, (b"\xff\xfe\x00\x1b[31m",))]),
    (b"421 bare \r inside\r\n", [Reply(421, (b"bare \r inside",))]),
]


def read(*pieces: bytes) -> list[Reply]:
    """All replies that come of feeding the pieces one after the other."""
    reader = ReplyReader()
    replies = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.next_reply()) is not None:
            replies.append(reply)
    return replies


@pytest.mark.parametrize(("wire", "replies"), WIRE_AND_REPLIES)
def test_replies_are_read_whole_and_octet_by_octet(wire: bytes, replies: list[Reply]) -> None:
    """The segments in which a reply arrives make no difference."""
    assert read(wire) == replies
    assert read(*(bytes([octet]) for octet in wire)) == replies


@pytest.mark.parametrize(("wire", "replies"), WIRE_AND_REPLIES)
@pytest.mark.parametrize("trailing", [b"2", b"25", b"250", b"250-", b"250-mx\r\n", b"250 half", b"4", b"\xff"])
def test_trailing_octets_are_kept_for_the_next_reply(wire: bytes, replies: list[Reply], trailing: bytes) -> None:
    """What is no whole reply yet changes nothing about those before it, and is known to be there."""
    reader = ReplyReader()
    reader.feed(wire + trailing)
    assert [reader.next_reply() for _ in replies] == replies
    assert reader.next_reply() is None
    assert reader.has_buffered


_LINE_TEXT = st.binary(max_size=60).map(lambda text: text.replace(b"\n", b"").removesuffix(b"\r"))
_REPLY = st.builds(Reply, st.integers(200, 599), st.lists(_LINE_TEXT, min_size=1, max_size=5).map(tuple))


def written(reply: Reply) -> bytes:
    """A reply as a server writes it."""
    last = len(reply.lines) - 1
    return b"".join(b"%d%b%b\r\n" % (reply.code, b" " if n == last else b"-", t) for n, t in enumerate(reply.lines))


@given(st.lists(_REPLY, max_size=5), st.data())
def test_any_replies_survive_any_segmentation(replies: list[Reply], data: st.DataObject) -> None:
    """Whatever the texts hold and wherever the segments end, the same replies come out in order."""
    wire = b"".join(map(written, replies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert read(*pieces) == replies


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_octets_give_replies_or_a_syntax_error(pieces: list[bytes]) -> None:
    """No input makes the reader do anything else, and what it gives is a reply that RFC 5321 knows."""
    try:
        replies = read(*pieces)
    except ReplySyntaxError as error:
        assert str(error).isprintable()
        return
    for reply in replies:
        assert 200 <= reply.code <= 599
        assert reply.klass in ReplyClass
        assert str(reply).isprintable()


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"2500 ok\r\n",
        b"250_ok\r\n",
        b" 250 ok\r\n",
        b"150 no such class\r\n",
        b"600 no such class\r\n",
        b"2\xb250 ok\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\n",
        b"250-mx\r\n550 other code\r\n",
        b"250-mx\r\nno code at all\r\n",
    ],
)
def test_what_is_no_reply_is_refused(wire: bytes) -> None:
    """Lines without a code, with another code in the middle, or of another protocol end the session."""
    with pytest.raises(ReplySyntaxError, match="no SMTP reply"):
        read(wire)


def test_an_endless_line_costs_bounded_memory() -> None:
    """A line over the limit is refused with or without its end; one at the limit is read."""
    text = b"x" * (MAX_LINE - 5)
    assert read(b"250 " + text + b"\r\n") == [Reply(250, (text,))]
    with pytest.raises(ReplySyntaxError, match="line of over"):
        read(b"250 " + b"x" * MAX_LINE)
    with pytest.raises(ReplySyntaxError, match="line of over"):
        read(b"250 " + b"x" * MAX_LINE + b"\r\n")


def test_an_endless_reply_costs_bounded_memory() -> None:
    """Continuation lines without end are refused after MAX_REPLY octets; the next reply starts a count of its own."""
    line = b"250-" + b"x" * 500 + b"\r\n"
    with pytest.raises(ReplySyntaxError, match="octets long"):
        read(*[line] * (MAX_REPLY // len(line) + 1))
    half = [line] * (MAX_REPLY // len(line) // 2 + 10) + [b"250 end\r\n"]
    assert len(read(*half, *half)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"5.1.1 no such user", EnhancedStatusCode(5, 1, 1)),
        (b"5.7.26", EnhancedStatusCode(5, 7, 26)),
        (b"5.1.1234 too long", None),
        (b"4.1.1 of another class", None),
        (b"5.1.1no space", None),
        (b"no 5.1.1 at the front", None),
        (b"", None),
    ],
)
def test_the_enhanced_code_is_read_where_it_agrees(text: bytes, expected: EnhancedStatusCode | None) -> None:
    """Only at the front, and only if its class is the reply's (RFC 3463 2)."""
    assert Reply(550, (text,)).enhanced == expected
    assert expected is None or text.startswith(str(expected).encode())


@given(st.binary(max_size=5000))
def test_server_text_is_one_bounded_printable_line(octets: bytes) -> None:
    """Nothing that moves a cursor, colours a terminal or turns the direction of writing, and 300 characters at most."""
    text = printable(octets)
    assert len(text) <= 300
    assert not any(ch in text for ch in "\r\n\x1b\x00\x7f\x9b\u2028\u202e\u2066")


def test_words_for_code_and_class() -> None:
    """2yz is positive, the lines join as smtplib gives them, and a text without words is the code alone."""
    reply = Reply(250, (b"2.0.0 ok", b"queued as 7"))
    assert (reply.positive, reply.message, str(reply)) == (True, b"2.0.0 ok\nqueued as 7", "250 2.0.0 ok queued as 7")
    assert (Reply(354).positive, Reply(451).klass, str(Reply(451))) == (False, ReplyClass.TRANSIENT, "451")


def test_octets_that_are_no_whole_reply_are_known_of() -> None:
    """A session with some left over must not be used again: they would be taken for the next command's answer."""
    reader = ReplyReader()
    known = [reader.has_buffered]
    reader.feed(b"250-mx\r\n250 ha")
    assert reader.next_reply() is None
    known.append(reader.has_buffered)
    reader.feed(b"ppy\r\n")
    assert reader.next_reply() == Reply(250, (b"mx", b"happy"))
    known.append(reader.has_buffered)
    assert known == [False, True, False]

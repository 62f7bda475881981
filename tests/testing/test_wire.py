"""The two readings of a client's octets, on which the proof against smuggling rests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.testing import parse_wire
from robust_email.testing.wire import find_end_of_data, unstuff

START = b"EHLO c\r\nMAIL FROM:<a@x> SIZE=3\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n"
SMUGGLED = b"MAIL FROM:<evil@x>\r\nRCPT TO:<victim@x>\r\nDATA\r\nbad\r\n.\r\n"
MARKS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]


def test_a_message_is_read_with_envelope_and_without_stuffing() -> None:
    """Paths come without brackets, content without dots put in front, in both readings."""
    wire = START + b"DATA\r\n..dot\r\nx.\r\n...\r\n.\r\nQUIT\r\n"
    for lenient in (False, True):
        [message] = parse_wire(wire, lenient=lenient)
        assert (message.reverse_path, message.forward_paths) == ("a@x", ("b@x", "c@x"))
        assert message.data == b".dot\r\nx.\r\n..\r\n"


def test_an_empty_message_ends_with_a_lone_dot() -> None:
    """The CRLF of the DATA command is the first half of the mark."""
    assert [message.data for message in parse_wire(START + b"DATA\r\n.\r\nQUIT\r\n", lenient=False)] == [b""]


def test_chunks_are_counted_and_not_searched() -> None:
    """BDAT content may hold anything, end marks and commands too."""
    wire = START + b"BDAT 5\r\n\r\n.\r\nBDAT 8 LAST\r\nQUIT\r\n\r\nQUIT\r\n"
    assert [message.data for message in parse_wire(wire)] == [b"\r\n.\r\nQUIT\r\n\r\n"]


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_of_another_kind_ends_data_for_the_lenient_only(mark: bytes) -> None:
    """Each smuggling sequence makes two messages for the lenient server and one for the strict."""
    wire = START + b"DATA\r\nhello" + mark + SMUGGLED
    assert len(parse_wire(wire, lenient=True)) == 2
    assert len(parse_wire(wire, lenient=False)) == 1


def test_data_without_its_end_is_no_message() -> None:
    """A client that was cut off has handed nothing over."""
    assert parse_wire(START + b"DATA\r\nhello\r\n.") == []


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"\r\n"]), max_size=30), st.booleans())
def test_the_mark_is_found_whatever_the_segments(pieces: list[bytes], lenient: bool) -> None:  # noqa: FBT001 - drawn
    """Searching piece by piece finds the strict mark where searching the whole does, and a lenient one no later."""
    whole = b"".join(pieces) + b"\r\n.\r\n"
    at_once = find_end_of_data(whole, lenient=lenient)
    assert at_once is not None
    seen, grown = 0, b""
    for octet in whole:
        grown += bytes([octet])
        found = find_end_of_data(grown, seen=seen, lenient=lenient)
        seen = len(grown)
        if found:
            break
    assert found is not None
    assert found[0] == at_once[0]


@given(st.binary(max_size=60).map(lambda octets: octets.replace(b"\n", b"\r\n")))
def test_unstuffing_undoes_stuffing(content: bytes) -> None:
    """Whatever a client stuffs line by line comes out as it was."""
    stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in content.split(b"\r\n"))
    assert unstuff(stuffed) == content

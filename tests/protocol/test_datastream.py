"""Line ends, dot-stuffing and chunks; threats S9 and S10: two servers that disagree on line ends see one message."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from robust_email.smtp.protocol.datastream import (
    END_OF_DATA,
    bdat_header,
    canonicalize,
    dot_stuff,
    is_canonical,
    longest_line,
    needs_8bit,
)

SMUGGLING = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\r", b"\n.\r", b"\r\n.\r", b"\r\n.\r\n"]

hostile = st.lists(st.sampled_from([b"\r", b"\n", b".", b"..", b"x", b"MAIL FROM:<a@b>", b"\xff", b" "])).map(b"".join)


def strict_server(wire: bytes) -> list[bytes]:
    """Return the bodies that a server sees which knows no line end but CRLF (RFC 5321)."""
    return split_at_end_of_data(wire.split(b"\r\n"))


def lenient_server(wire: bytes) -> list[bytes]:
    """Return the bodies that a server sees which takes CR, LF and CRLF, each, for a line end."""
    return split_at_end_of_data(re.split(rb"\r\n|\r|\n", wire))


def split_at_end_of_data(lines: list[bytes]) -> list[bytes]:
    """Read DATA transfers one after another; whatever follows the last mark is a body too, of a smuggled kind."""
    bodies, body = [], b""
    for line in lines[:-1]:
        if line == b".":
            bodies.append(body)
            body = b""
        else:
            body += line.removeprefix(b".") + b"\r\n"
    return bodies if not body and not lines[-1] else [*bodies, body + lines[-1]]


@given(hostile)
@example(b"")
@example(b".")
@example(b"no line end")
def test_every_server_sees_exactly_one_message(raw: bytes) -> None:
    """S9: however the server reads line ends, there is one body, and it is the canonical one."""
    canonical = canonicalize(raw)
    wire = dot_stuff(canonical)
    assert strict_server(wire) == lenient_server(wire) == [canonical]


@pytest.mark.parametrize("sequence", SMUGGLING)
def test_smuggling_sequences_end_nothing(sequence: bytes) -> None:
    """S9: each of the known sequences is body, and what follows it as well."""
    wire = dot_stuff(canonicalize(b"Subject: x\r\n\r\nfirst" + sequence + b"MAIL FROM:<evil@x.org>\r\n"))
    expected = [b"Subject: x\r\n\r\nfirst\r\n.\r\nMAIL FROM:<evil@x.org>\r\n"]
    assert strict_server(wire) == lenient_server(wire) == expected


@pytest.mark.parametrize("raw", [b"\0", b"x\r\n\0.\r\ny\r\n", b"x\n\0"])
def test_nul_is_refused(raw: bytes) -> None:
    """S9: servers disagree on NUL, so none is sent."""
    with pytest.raises(ValueError, match="NUL"):
        canonicalize(raw)


@given(st.binary())
def test_canonical_form_by_its_definition(raw: bytes) -> None:
    """CR and LF stand together only, the last line ends, and the text of each line is what it was."""
    raw = raw.replace(b"\0", b"")
    canonical = canonicalize(raw)
    assert is_canonical(canonical)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|[^\n]\Z", canonical)
    lines = re.split(rb"\r\n|\r|\n", raw)
    assert canonical.split(b"\r\n")[:-1] == (lines if lines[-1] else lines[:-1])


@pytest.mark.parametrize("data", [b"", b"\r\n", b"a\r\n", b"a\r\n\r\n.\r\n"])
def test_canonical_data_is_not_copied(data: bytes) -> None:
    """Data that needs no repair comes back as the very same object."""
    assert canonicalize(data) is data


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"a", b"a\r\n"),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\rb\r", b"a\r\nb\r\n"),
        (b"a\r\nb\nc\rd\n\r\r\n", b"a\r\nb\r\nc\r\nd\r\n\r\n\r\n"),
        (b"\r\r\n\n", b"\r\n\r\n\r\n"),
    ],
)
def test_line_ends_are_repaired(raw: bytes, canonical: bytes) -> None:
    """Each line end, of whatever kind, becomes one CRLF."""
    assert canonicalize(raw) == canonical


@pytest.mark.parametrize("data", [b"\0", b"a", b"a\n", b"a\r", b"a\n\r", b"a\r\nb", b"\0\r\n", b"\r\r\n", b"\r\n\n"])
def test_what_is_not_canonical(data: bytes) -> None:
    """Each departure from the canonical form is seen."""
    assert not is_canonical(data)


@pytest.mark.parametrize(
    ("data", "wire"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b".a\r\n..b\r\nc.\r\n", b"..a\r\n...b\r\nc.\r\n.\r\n"),
        (b".\r\n.\r\n.\r\n", b"..\r\n..\r\n..\r\n.\r\n"),
        (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"),
    ],
)
def test_dot_stuffing_golden(data: bytes, wire: bytes) -> None:
    """S10: a leading dot is doubled, on every line and only there; the mark stands alone (RFC 5321 4.5.2)."""
    assert dot_stuff(data) == wire
    assert wire.endswith(END_OF_DATA)


@pytest.mark.parametrize("data", [b"a", b"a\n", b"a\r"])
def test_dot_stuffing_wants_a_finished_line(data: bytes) -> None:
    """Without a last CRLF the mark would be the end of a line of text."""
    with pytest.raises(ValueError, match="CRLF"):
        dot_stuff(data)


def test_bdat_header() -> None:
    """A chunk is announced in octets, the last one says so (RFC 3030 2)."""
    assert bdat_header(1000, last=False) == b"BDAT 1000\r\n"
    assert bdat_header(0, last=True) == b"BDAT 0 LAST\r\n"
    with pytest.raises(ValueError, match="-1"):
        bdat_header(-1, last=True)


@given(st.binary())
def test_needs_8bit(data: bytes) -> None:
    """One octet above 127 is enough."""
    assert needs_8bit(data) == any(octet > 127 for octet in data)


@given(st.lists(st.binary().map(lambda line: line.translate(None, b"\r\n\0"))))
def test_longest_line(lines: list[bytes]) -> None:
    """The longest line counts, without its CRLF."""
    assert longest_line(b"".join(line + b"\r\n" for line in lines)) == max(map(len, lines), default=0)

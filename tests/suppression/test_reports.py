"""Octets from anybody to a report: what servers write, what people write, and what was made to break a parser."""

from __future__ import annotations

import base64
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.suppression.reports import MAX_RECIPIENTS, ReportKind, read_report
from tests.suppression.letters import (
    ABSENCE_NOTE,
    ANN,
    BOB,
    FORWARDED_BY_A_PERSON,
    OURS,
    RECEIPT,
    WITH_A_DISCLAIMER,
    bounce,
    complaint,
    group,
)

UNICODE = "jos\u00e9@example.net"


def statuses(raw: bytes) -> list[tuple[str, str, str]]:
    """Return (address, action, status) of each recipient."""
    return [(each.addresses[0], each.action, each.status) for each in read_report(raw).recipients]


def test_a_bounce_is_read() -> None:
    """A notification in Postfix's form gives recipient, action, status, and whose bounce it is."""
    report = read_report(bounce())
    assert report.kind is ReportKind.DELIVERY_STATUS
    assert statuses(bounce()) == [(ANN, "failed", "5.1.1")]
    assert report.message_ids == (OURS,)
    assert report.addressed_to == ("shop@example.org",)


def test_several_recipients_are_told_apart() -> None:
    """Each group of fields is about one recipient; a delay is no failure."""
    raw = bounce(group(), group(BOB, "4.4.1", "delayed"))
    assert statuses(raw) == [(ANN, "failed", "5.1.1"), (BOB, "delayed", "4.4.1")]


def test_the_address_as_we_gave_it_comes_first() -> None:
    """Original-Recipient goes before the address that a forward led to."""
    raw = bounce(group(BOB, "5.1.1", "failed", f"Original-Recipient: rfc822;{ANN}"))
    assert read_report(raw).recipients[0].addresses == (ANN, BOB)


@pytest.mark.parametrize("status_type", ["message/delivery-status", "message/global-delivery-status"])
@pytest.mark.parametrize("form", [f"utf-8; {UNICODE}", r"utf-8; jos\x{E9}@example.net"])
def test_addresses_beyond_ascii(status_type: str, form: str) -> None:
    """RFC 6533's addresses are read raw and with embedded code points, under the new media type and the old."""
    raw = bounce(
        group().replace(f"rfc822; {ANN}", form), status_type=status_type, returned_type="message/global-headers"
    )
    assert statuses(raw) == [(UNICODE, "failed", "5.1.1")]
    assert read_report(raw).message_ids == (OURS,)


def test_a_vague_status_gives_way_to_the_servers_own() -> None:
    """5.0.0 says only that it failed: the code in Diagnostic-Code is taken, if its class is the same."""
    exact = bounce(group(ANN, "5.0.0", "failed", "Diagnostic-Code: smtp; 550 5.1.1 <ann> no such user"))
    other = bounce(group(ANN, "5.0.0", "failed", "Diagnostic-Code: smtp; 450 4.1.1 later"))
    prose = bounce(group(ANN, "5.0.0", "failed", "Diagnostic-Code: x-unix; 550 5.1.1 no such user"))
    assert [statuses(raw)[0][2] for raw in (exact, other, prose)] == ["5.1.1", "5.0.0", "5.0.0"]


def test_encoded_parts_are_decoded() -> None:
    """RFC 6533 allows a transfer encoding inside: base64 is undone, and broken base64 makes it malformed."""
    text = b"Reporting-MTA: dns; mx\r\n\r\n" + group().encode()
    encoded = base64.encodebytes(text).decode()
    head = "message/global-delivery-status\nContent-Transfer-Encoding: base64"
    good = bounce("", status_type=head).decode().partition("Reporting-MTA")
    rest = good[2].partition("--4F2A")
    assert statuses(f"{good[0]}{encoded}--4F2A{rest[2]}".encode()) == [(ANN, "failed", "5.1.1")]
    assert read_report(f"{good[0]}abc\n--4F2A{rest[2]}".encode()).kind is ReportKind.MALFORMED


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (ABSENCE_NOTE, ReportKind.AUTOMATIC),
        (RECEIPT, ReportKind.OTHER),
        (FORWARDED_BY_A_PERSON, ReportKind.OTHER),
        (WITH_A_DISCLAIMER, ReportKind.DELIVERY_STATUS),
        (b"From: bob@example.net\n\n550 5.1.1 ann@example.net", ReportKind.OTHER),
        (b"Precedence: bulk\n\nhi", ReportKind.AUTOMATIC),
        (b"Auto-Submitted: no\n\nhi", ReportKind.OTHER),
        (b"", ReportKind.OTHER),
        (bounce("Action: failed\nStatus: 5.1.1\n"), ReportKind.MALFORMED),
        (bounce(group(action="exploded")), ReportKind.MALFORMED),
        (bounce().replace(b"rfc822; ann", b"x400; ann"), ReportKind.MALFORMED),
        (bounce().partition(b"--4F2A.1/mx.example.net\r\nContent-Description: Delivery")[0], ReportKind.MALFORMED),
        (bounce().replace(b'boundary="4F2A', b'boundary="other'), ReportKind.MALFORMED),
        (complaint(), ReportKind.COMPLAINT),
        (complaint("not-spam"), ReportKind.OTHER),
    ],
)
def test_what_a_mail_is(raw: bytes, kind: ReportKind) -> None:
    """Reports are told from automatic mail, from people's, from a forwarded report, and from what is broken."""
    assert read_report(raw).kind is kind


@pytest.mark.parametrize("status", ["5.1", "6.1.1", "5.1.1.1", "5.1.1111", "", "550 5.1.1"])
def test_a_status_that_is_none(status: str) -> None:
    """What is no enhanced status code is no status; the recipient is still reported."""
    assert statuses(bounce(group(status=status))) == [(ANN, "failed", "")]


def test_a_truncated_report_is_read_as_far_as_it_goes() -> None:
    """Where the mail was cut after the groups, they count; the returned mail is missing, and so is its Message-ID."""
    cut = bounce().partition(b"\r\n--4F2A.1/mx.example.net\r\nContent-Description: Undelivered")[0]
    assert statuses(cut) == [(ANN, "failed", "5.1.1")]
    assert read_report(cut).message_ids == ()


def test_an_attached_message_is_not_looked_into() -> None:
    """A bounce that returns a bounce is about the outer one: the Message-ID is the returned mail's own."""
    nested = bounce(returned_type="message/rfc822").replace(
        b"Subject: Your order\r\n", b"Subject: Your order\r\nX: y\r\n"
    )
    inner = bounce(group(BOB), message_id="<inner@shop.example>")
    raw = nested.replace(b"<1.order@shop.example>\r\n", b"<1.order@shop.example>\r\n\r\n" + inner)
    assert read_report(raw).message_ids == (OURS,)
    assert statuses(raw) == [(ANN, "failed", "5.1.1")]


def test_multiparts_in_each_other_end() -> None:
    """A few thousand multiparts in each other are neither followed nor a recursion error."""
    opened = (f"Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n" for depth in range(5_000))
    assert read_report("".join(opened).encode() + bounce()).kind is ReportKind.OTHER


def test_recipients_are_limited() -> None:
    """A report about more recipients than one mail may have is cut."""
    assert len(read_report(bounce(*[group()] * (MAX_RECIPIENTS + 5))).recipients) == MAX_RECIPIENTS


@pytest.mark.parametrize(
    "hostile",
    [
        b"To: " + b"a" * 3_000_000,
        b"To: " + b"a\n b" * 700_000,
        b"Content-Type: multipart/report" + b';a="' * 700_000,
        b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\n" * 700_000,
        bounce().replace(b"Action: failed", b"Status: " + b" " * 3_000_000),
        complaint(rcpt="Original-Rcpt-To: " + "a" * 3_000_000 + "\n"),
        complaint(rcpt=("Original-Rcpt-To: " + "a" * 1_980 + "\n") * 1_500),
        bounce(*[group(ANN, "5.0.0", "failed", "Diagnostic-Code: smtp;" + " " * 1_900 + "x")] * 950),
    ],
    ids=["long", "folded", "quotes", "parts", "spaces", "rcpt", "rcpts", "diagnostics"],
)
def test_work_grows_with_the_octets_alone(hostile: bytes) -> None:
    """Three megabytes made to be slow are read in a few seconds of work; a quadratic reader would take hours."""
    began = time.process_time()
    read_report(hostile)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "hostile",
    [
        bounce("a:b\n\n" * 200_000),
        bounce(*[group()] * 20_000),
        b"".join(b"a%d:\n" % number for number in range(200_000)),
        b"ab\n" * 330_000,
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + b"ab\n" * 330_000,
        complaint(rcpt=("Original-Rcpt-To: " + "a@b," * 450 + "\n") * 500),
    ],
    ids=["groups", "recipients", "fields", "lines", "lines of a part", "addresses"],
)
def test_memory_grows_with_the_octets_alone(hostile: bytes) -> None:
    """A megabyte made to become a million objects is read in a few times its octets, and a constant."""
    tracemalloc.start()
    read_report(hostile)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(hostile) + 8_000_000


LINES = st.sampled_from(
    [*bounce().split(b"\r\n"), *complaint().split(b"\n"), b"--outer", b"Content-Type: multipart/mixed; boundary=outer"]
)


@given(st.lists(st.one_of(LINES, LINES, st.binary(max_size=40)), max_size=60), st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_nothing_raises(lines: list[bytes], end: bytes) -> None:
    """Whatever the octets, a report comes out, and its recipients have addresses and a known action."""
    report = read_report(end.join(lines))
    assert all(each.addresses and all(each.addresses) for each in report.recipients)
    assert bool(report.recipients) <= (report.kind in {ReportKind.DELIVERY_STATUS, ReportKind.COMPLAINT})


@given(st.data())
def test_octets_changed_on_the_way(data: st.DataObject) -> None:
    """A true bounce with a piece replaced by anything never raises, and never names who was in neither."""
    raw = bounce()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, len(raw)))
    report = read_report(raw[:start] + data.draw(st.binary(max_size=20)) + raw[end:])
    assert BOB not in [address for each in report.recipients for address in each.addresses]


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,9}@example\.(net|org)", fullmatch=True),
            st.from_regex(r"5\.[0-9]\.[0-9]{1,2}", fullmatch=True),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([b"\r\n", b"\n"]),
)
def test_what_is_written_is_read(said: list[tuple[str, str]], end: bytes) -> None:
    """Any recipients with any codes come back as they were written, whatever the line ends."""
    raw = bounce(*[group(address, status) for address, status in said]).replace(b"\r\n", end)
    assert statuses(raw) == [(address, "failed", status) for address, status in said]


@pytest.mark.parametrize("octet", [0, 1, 8, 0x1F, 0x7F])
def test_a_message_id_has_no_control_characters(octet: int) -> None:
    """PostgreSQL refuses to look for a NUL: one mail with it would end each run of the mailbox's reader."""
    assert read_report(bounce(message_id=f"<1{chr(octet)}@shop.example>")).message_ids == ()


def test_no_address_is_shown() -> None:
    """The repr of a report holds no address."""
    assert "ann" not in repr(read_report(bounce()))

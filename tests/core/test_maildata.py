"""Mail data: canonical octets by construction, headers that are those that were set, 7-bit when the server wants it."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.headers import header_fields
from robust_email.smtp.maildata import HeaderInjection, MailData, check_headers, downgrade_7bit, header_names

HEAD = b"From: a@b\r\nMessage-ID: <1@b>\r\nSubject: x\r\n y\r\n"


def test_content_becomes_canonical() -> None:
    """LF line ends and a missing last one are repaired (S10)."""
    assert MailData.from_bytes(b"A: b\n\nbody\rmore").content == b"A: b\r\n\r\nbody\r\nmore\r\n"


def test_canonical_content_is_kept_as_the_same_object() -> None:
    """Nothing is copied that need not be; stored octets are submitted as they are (S8)."""
    raw = HEAD + b"\r\n.body\r\n"
    data = MailData.from_bytes(raw)
    assert data.content is raw
    assert data.size == len(raw)


@pytest.mark.parametrize("content", [b"A: b\n", b"A: b", b"A: b\r\n\r\nx\0\r\n", b"A: b\r\n\r\nx\ry\r\n"])
def test_constructor_wants_canonical_content(content: bytes) -> None:
    """S9: no way leads around the canonical form."""
    with pytest.raises(ValueError, match="from_bytes"):
        MailData(content)


def test_line_limit_is_998_octets() -> None:
    """S10: 998 octets pass, 999 are refused with advice (RFC 5321 4.5.3.1.6)."""
    assert MailData.from_bytes(b"A: b\r\n\r\n" + b"x" * 998).size == 8 + 998 + 2
    with pytest.raises(ValueError, match=r"999 octets.*quoted-printable or base64"):
        MailData.from_bytes(b"A: b\r\n\r\n" + b"x" * 999)


def test_nul_is_refused() -> None:
    """S9: NUL has no place in mail."""
    with pytest.raises(ValueError, match="NUL"):
        MailData.from_bytes(b"A: b\r\n\r\nx\0y")


def test_repr_shows_no_content() -> None:
    """A body may hold a code or a link that lets people in."""
    assert repr(MailData(b"A: b\r\n\r\nCANARY\r\n")) == "MailData(size=16, is_8bit=False)"


@pytest.mark.parametrize(
    ("content", "is_8bit", "needs_smtputf8"),
    [
        (b"A: b\r\n\r\nx\r\n", False, False),
        (b"A: b\r\n\r\n\xc3\xa9\r\n", True, False),
        ("A: é\r\n\r\nx\r\n".encode(), True, True),
        (b"\r\n\xc3\xa9\r\n", True, False),
        (b"", False, False),
    ],
)
def test_what_the_server_must_offer(
    content: bytes,
    is_8bit: bool,  # noqa: FBT001 - a table of cases
    needs_smtputf8: bool,  # noqa: FBT001 - the same
) -> None:
    """S10: 8-bit anywhere needs 8BITMIME, 8-bit in a header SMTPUTF8 too."""
    data = MailData(content)
    assert (data.is_8bit, data.needs_smtputf8) == (is_8bit, needs_smtputf8)


@pytest.mark.parametrize(
    ("head", "message_id"),
    [
        (b"Message-ID: <1@b>\r\n", "<1@b>"),
        (b"message-id:<1@b>  \r\n", "<1@b>"),
        (b"A: b\r\nMESSAGE-ID:\r\n <1@b>\r\nC: d\r\n", "<1@b>"),
        (b"X-Message-ID: <1@b>\r\n", None),
        (b"A: b\r\n\r\nMessage-ID: <in@body>\r\n", None),
    ],
)
def test_message_id(head: bytes, message_id: str | None) -> None:
    """The field is found in any case, folded or not, and in the header block alone."""
    assert MailData(head + b"\r\nbody\r\n").message_id == message_id


def test_header_names_in_order() -> None:
    """Names come as written, repeated ones repeated, continuation lines not."""
    block = b"Received: 1\r\nreceived: 2\r\n\tmore: x\r\nSubject: =?x?=\r\n\r\nBcc: body\r\n"
    assert header_names(block) == (b"Received", b"received", b"Subject")
    assert list(header_fields(block))[1] == (b"received", b"2\tmore: x")


@pytest.mark.parametrize("content", [b"", b"\r\nBcc: body\r\n"])
def test_no_header_block(content: bytes) -> None:
    """A message may begin with its body."""
    assert header_names(content) == ()


@pytest.mark.parametrize(
    "content",
    [b"no colon\r\n", b": x\r\n", b" folded: x\r\n", b"A : b\r\n", b"A b: c\r\n", b"\xc3\xa9: b\r\n", b"A: b\r\nx\r\n"],
)
def test_a_line_that_is_no_field_is_refused(content: bytes) -> None:
    """Parsers disagree on what follows a line that is no header field, so there is none."""
    with pytest.raises(HeaderInjection):
        header_names(content + b"\r\nbody\r\n")
    with pytest.raises(HeaderInjection):
        MailData.from_bytes(content + b"\r\nbody\r\n")


def test_expected_headers_pass() -> None:
    """Case and order are free, the count is not."""
    check_headers(HEAD + b"\r\nBcc: body\r\n", ["subject", "MESSAGE-ID", "From"])
    check_headers(b"R: 1\r\nR: 2\r\n\r\n", ["r", "R"])


@pytest.mark.parametrize(
    ("content", "expected", "text"),
    [
        (b"From: a\r\nSubject: x\r\nBcc: evil@x\r\n\r\n", ["From", "Subject"], "not set: 'bcc'"),
        (b"From: a\r\nFrom: b\r\n\r\n", ["From"], "not set: 'from'"),
        (b"From: a\r\n\r\nSubject: x\r\n", ["From", "Subject"], "missing: 'subject'"),
        (b"Subject: x\r\n\r\nFrom: a\r\n\r\n", ["From", "Subject"], "missing: 'from'"),
        (b"A: b\r\n\r\n", ["A", "\x1b[31m\n"], r"missing: '\\x1b\[31m\\n'"),
        (b"A: b\r\n\r\n", ["A", *"zyxwvut"], r"missing: 't', 'u', 'v', 'w', 'x', \.\.\."),
    ],
)
def test_unexpected_headers_are_named(content: bytes, expected: list[str], text: str) -> None:
    """S7: a field too many, one too few, or one pushed into the body is an injection; its value is not shown."""
    with pytest.raises(HeaderInjection, match=text) as caught:
        check_headers(content, expected)
    assert "evil" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "injection", ["=?utf-8?q?a=0ABcc:_evil@x?=", "=?utf-8?q?a=0D=0ABcc:_evil@x?=", "=?utf-8?b?YQ1CY2M6IHg=?="]
)
def test_encoded_word_newline(injection: str) -> None:
    """S7: whatever this interpreter's serialiser makes of a newline in an encoded word, no ``Bcc`` gets through."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = "a@b"
    message["Subject"] = injection
    message.set_content("x")
    try:
        data = MailData.from_bytes(message.as_bytes())
        check_headers(data.content, message.keys())
    except ValueError:
        return
    parsed = email.message_from_bytes(data.content)
    assert "Bcc" not in parsed


@pytest.mark.parametrize(
    "raw",
    [
        b"From: a\r\nSubject: x\rBcc: evil@x\r\n\r\nbody\r\n",
        b"From: a\r\nSubject: x\nBcc: evil@x\r\n\r\nbody\r\n",
        b"From: a\r\nSubject: x\n\nbody\r\n\r\n",
        b"From: a\r\nSubject: x\r\rbody\r\n\r\n",
        b"From: a\nSubject: x\rBcc: evil@x\n\nbody\n",
        b"From: a\rSubject: x\r\rbody\r",
        b"From: a\r\nSubject: x\n\r\n\r\nbody\r\n",
        b"From: a\r\nSubject: x\r",
    ],
)
def test_repair_of_line_ends_makes_no_header(raw: bytes) -> None:
    """S6, S8: a bare CR, or an LF among CRLFs, in the header block is not repaired into a field of its own."""
    with pytest.raises(HeaderInjection, match="bare CR, or LF among CRLF"):
        MailData.from_bytes(raw)


@pytest.mark.parametrize("raw", [b"A: b\n\n\rx\r\ny", b"A: b\r\n\r\n\rx\ny", b"\nx\ry\r\nz", b"A: b\r\n"])
def test_mixed_line_ends_in_the_body_are_repaired(raw: bytes) -> None:
    """Only the header block is so strict: a body is text that people paste."""
    assert b"\n" not in MailData.from_bytes(raw).content.replace(b"\r\n", b"")


@given(st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"A: b", b"Bcc: x", b" c", b":", b"d", b"."])).map(b"".join))
def test_repair_never_adds_a_field(raw: bytes) -> None:
    """Whatever is accepted has the header names that a strict reading of the raw octets has."""
    try:
        data = MailData.from_bytes(raw)
    except ValueError:
        return
    line_end = b"\r\n" if b"\r\n" in raw.split(b"\n\n")[0] else b"\n"
    block = b"" if raw.startswith((b"\r", b"\n")) else raw.split(line_end * 2)[0]
    lines = [line for line in block.split(line_end) if line and not line.startswith(b" ")]
    assert header_names(data.content) == tuple(line.split(b":")[0] for line in lines)


def eight_bit_message() -> EmailMessage:
    """Make a message with 8-bit text and HTML, an attached 8-bit message, and a binary file, nested."""
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("Grüße\n", cte="8bit")
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = "a@b"
    message["Subject"] = "Grüße " * 20
    message["Message-ID"] = "<1@b>"
    message["X-Long"] = "x" * 90
    message.set_content("Grüße = \n.\nFrom x \n" + "ü" * 400 + "\n", cte="8bit")
    message.add_alternative("<p>Grüße</p>\n", subtype="html", cte="8bit")
    message.add_attachment(inner)
    message.add_attachment(b"\x01\xff\r\n" * 50, "application", "octet-stream", filename="x.bin")
    raw = EmailMessage()
    raw["Content-Type"] = "application/x-raw"
    raw["Content-Transfer-Encoding"] = "binary"
    raw.set_payload("\udcff\udcfe\r\n")
    message.attach(raw)
    return message


def leaves(data: MailData) -> list[tuple[str, bytes]]:
    """Return type and decoded octets of each part that holds any, line ends as CRLF, as a receiver sees them."""
    parsed = email.message_from_bytes(data.content)
    found = [
        (part.get_content_type(), part.get_payload(decode=True)) for part in parsed.walk() if not part.is_multipart()
    ]
    return [(kind, body.replace(b"\r\n", b"\n")) for kind, body in found if isinstance(body, bytes)]


def test_downgrade_keeps_what_the_receiver_reads() -> None:
    """S10: no octet above 127 is left, every part decodes to what it was, every header is what it was."""
    data = MailData.from_bytes(eight_bit_message().as_bytes())
    downgraded = downgrade_7bit(data)
    assert data.is_8bit
    assert not downgraded.is_8bit
    assert leaves(downgraded) == leaves(data)
    assert downgraded.message_id == data.message_id == "<1@b>"
    assert list(header_fields(downgraded.content)) == list(header_fields(data.content))
    assert b"8bit" not in downgraded.content
    assert b": binary" not in downgraded.content


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "", "unknown-charset"])
def test_downgrade_needs_no_charset(charset: str) -> None:
    """The octets are encoded, not the text: a missing or unknown charset is no obstacle, nor is a missing encoding."""
    kind = b"Content-Type: text/plain; charset=%b\r\n" % charset.encode() if charset else b""
    data = MailData(HEAD + kind + b"\r\nGr\xfc\xdfe \r\n\r\n.\r\n")
    downgraded = downgrade_7bit(data)
    assert leaves(downgraded) == leaves(data)
    assert header_names(downgraded.content)[-1] == b"Content-Transfer-Encoding"


def test_downgrade_of_7bit_data_is_the_same_object() -> None:
    """What is 7-bit already is not touched."""
    data = MailData(HEAD + b"\r\nx\r\n")
    assert downgrade_7bit(data) is data


SIGNED = b'Content-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\n\xfc\r\n--b--\r\n'
PREAMBLE = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n\xfc\r\n--b\r\n\r\nx\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("From: é@b\r\n\r\nx\r\n".encode(), "SMTPUTF8"),
        (HEAD + SIGNED, "signature"),
        (HEAD + b"DKIM-Signature: v=1\r\n\r\n\xfc\r\n", "signature"),
        (HEAD + PREAMBLE, "outside its parts"),
    ],
)
def test_downgrade_refuses_what_it_would_break(content: bytes, reason: str) -> None:
    """Raw UTF-8 headers, signatures and 8-bit octets outside the parts can't be re-encoded, and it says so."""
    with pytest.raises(ValueError, match=reason):
        downgrade_7bit(MailData(content))


@pytest.mark.parametrize("value", [b"a\x0cBcc: evil@x", b"a\x0bb", b"a\x1cBcc: evil@x", b"a\x0c b"])
def test_downgrade_makes_no_header(value: bytes) -> None:
    """S7: Python 3.11 and 3.12 end a line at a form feed; then the mail is refused, else its headers are unchanged."""
    data = MailData(HEAD + b"X: " + value + b"\r\n\r\n\xfc\r\n")
    try:
        downgraded = downgrade_7bit(data)
    except HeaderInjection:
        return
    assert list(header_fields(downgraded.content))[:-1] == list(header_fields(data.content))


@given(st.binary(max_size=300))
def test_downgrade_of_any_body(body: bytes) -> None:
    """Each 8-bit body survives as octets, line ends apart."""
    body = body.replace(b"\0", b"")
    data = MailData.from_bytes(HEAD + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + body)
    downgraded = downgrade_7bit(data)
    assert not downgraded.is_8bit
    assert leaves(downgraded) == leaves(data)

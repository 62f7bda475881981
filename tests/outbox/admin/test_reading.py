"""Mails and numbers as people read them."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.outbox.dashboard.reading import LONGEST, readable
from robust_email.outbox.templatetags.humanly import duration, grouped

HEADERS = st.sampled_from([b"Subject", b"To", b"Date", b"Content-Type", b"Content-Transfer-Encoding", b"Message-ID"])


@given(st.binary(max_size=400))
def test_no_octets_are_too_odd(content: bytes) -> None:
    """Whatever the octets, something can be shown."""
    readable(content)


@given(st.lists(st.tuples(HEADERS, st.binary(max_size=60)), max_size=5), st.binary(max_size=100))
def test_no_headers_are_too_odd(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Not even headers that no parser of theirs understands."""
    lines = [name + b": " + value.replace(b"\r", b"").replace(b"\n", b"") for name, value in headers]
    for part in readable(b"\r\n".join([*lines, b"", body])).parts:
        assert len(part.text) <= LONGEST


def test_a_mail_is_taken_apart() -> None:
    """Headers are decoded and parts told apart; what is attached has a name and a size, and no text."""
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message["To"] = "Ann <ann@example.net>"
    message.set_content("Schön\n")
    message.add_alternative("<p onclick=x>Schön</p>", subtype="html")
    message.add_attachment(bytes(300), maintype="application", subtype="pdf", filename="rechnung.pdf")
    mail = readable(message.as_bytes())
    assert dict(mail.headers)["Subject"] == "Grüße"
    assert [(part.content_type, part.name) for part in mail.parts] == [
        ("text/plain", ""),
        ("text/html", ""),
        ("application/pdf", "rechnung.pdf"),
    ]
    assert mail.parts[0].text == "Schön\n"
    assert "onclick" in mail.parts[1].text
    assert (mail.parts[2].size, mail.parts[2].text) == (300, "")


def test_an_unknown_charset_is_read_all_the_same() -> None:
    """A charset nobody knows is taken for UTF-8."""
    [part] = readable(b"Content-Type: text/plain; charset=x-nobody\r\n\r\nSch\xc3\xb6n").parts
    assert part.text == "Schön"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0 s"),
        (0.0002, "1 ms"),
        (0.0123, "12 ms"),
        (0.9999, "1 s"),
        (3.456, "3.46 s"),
        (119, "119 s"),
        (150, "2.5 min"),
        (7_200, "2 h"),
        (259_200, "3 d"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    """Seconds are written with the unit that fits and three digits at most."""
    assert duration(seconds).replace("\N{NARROW NO-BREAK SPACE}", " ") == text


def test_groups_of_three() -> None:
    """A thousand and a million have their gaps, a hundred has none."""
    assert [grouped(n).replace("\N{NARROW NO-BREAK SPACE}", " ") for n in (100, 1_000, 1_234_567)] == [
        "100",
        "1 000",
        "1 234 567",
    ]

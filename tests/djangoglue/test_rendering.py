"""The octets are Django's own, whatever the message; only cheaper, and never more than the headers that were set."""

from __future__ import annotations

import datetime as dt
import email.message
import email.policy
import random
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import message as django_message
from hypothesis import given
from hypothesis import strategies as st

from robust_email import _compat
from robust_email.rendering import CACHED_HEADERS, POLICY, render, serialise
from robust_email.smtp.headers import HeaderInjection
from tests.djangoglue.message_corpus import CORPUS, mail
from tests.djangoglue.stock_django import sent_by_django

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.mail import EmailMessage

THEN = dt.datetime(2026, 11, 24, 6, 30, tzinfo=dt.UTC)


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fix what Django draws anew for each message. Call it before each rendering."""

    class FixedDatetime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return THEN.astimezone(tz)

    monkeypatch.setattr(django_message, "make_msgid", lambda **_: "<pinned@example.com>")
    if _compat.MODERN_EMAIL_API:
        monkeypatch.setattr(django_message, "datetime", FixedDatetime)
    else:
        monkeypatch.setattr(django_message, "formatdate", lambda **_: "Tue, 24 Nov 2026 06:30:00 -0000")
    return lambda: random.seed(4711)  # the boundaries


@pytest.mark.parametrize("build", CORPUS.values(), ids=CORPUS.keys())
def test_octets_are_those_of_djangos_backend(build: Callable[[], EmailMessage], pinned: Callable[[], None]) -> None:
    """Each message of the corpus gives the same octets as Django's backend, the second time too, from the caches."""
    pinned()
    expected = sent_by_django(build()).octets
    for _ in range(2):
        pinned()
        assert render(build()) == expected


@given(
    name=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), max_size=20),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90),
)
def test_a_short_plain_header_is_written_as_django_does(name: str, value: str) -> None:
    """ASCII, about as long as a line, blanks and separators anywhere: each header is what Django's backend writes."""
    headers = {"Date": "Tue, 24 Nov 2026 06:30:00 -0000", "Message-ID": "<1@example.com>", f"X-{name}": value}
    message = mail(headers=headers)
    try:
        assert render(message) == sent_by_django(message).octets
    except HeaderInjection:
        assert "=?" in value


def test_corpus_is_wide_enough() -> None:
    """At least 60 kinds of message are compared."""
    assert len(CORPUS) >= 60


@given(
    subject=st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85"), max_size=120
    ),
    body=st.text(st.characters(exclude_categories=["Cs"]), max_size=400),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85"), max_size=300),
)
def test_octets_are_those_of_djangos_backend_for_any_text(subject: str, body: str, value: str) -> None:
    """Any subject, body and header value gives what Django's backend gives, or is refused as an injection."""
    headers = {"Date": "Tue, 24 Nov 2026 06:30:00 -0000", "Message-ID": "<1@example.com>", "X-Any": value}
    message = mail(subject=subject, body=body, headers=headers)
    expected = sent_by_django(message).octets
    try:
        rendered = render(message)
    except HeaderInjection:
        assert b"=?" in (subject + value).encode()  # only Python's decoding of encoded words makes line ends
    else:
        assert rendered == expected


def test_boundary_in_the_text_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that holds the drawn boundary gets another one, so that it cannot end early."""
    draws = iter([7, 7, 8])
    monkeypatch.setattr(random, "randrange", lambda _: next(draws))
    body = f"--{'=' * 15}{7:019d}==\n"
    octets = render(mail(body=body, headers={"Message-ID": "<1@a.b>"}, attachments=[("a.txt", "x", "text/plain")]))
    boundary = email.message_from_bytes(octets).get_boundary()
    assert boundary
    assert boundary not in body


INJECTIONS = {
    "encoded word that is a line end": ("Subject", "=?utf-8?q?a=0ABcc:_evil@example.org?="),
    "encoded word that ends the header block": ("Subject", "=?utf-8?q?a=0A=0ABody?="),
    "encoded word with a line end last": ("Subject", "=?utf-8?q?a=0A?="),
    "encoded word in base64": ("X-Any", "=?utf-8?b?YQ0KQmNjOiBldmlsQGV4YW1wbGUub3Jn?="),
    "encoded CR": ("X-Any", "=?utf-8?q?a=0DBcc:_evil@example.org?="),
    "name with a line end": ("X-A: b\r\nBcc", "evil@example.org"),
    "name with LF": ("X-A: b\nBcc", "evil@example.org"),
    "name with CR": ("X-A: b\rBcc", "evil@example.org"),
}


@pytest.mark.parametrize(("name", "value"), INJECTIONS.values(), ids=INJECTIONS.keys())
def test_injected_line_end_never_makes_a_header(name: str, value: str) -> None:
    """What would become a second header is refused, or harmless because this Python encodes it again."""
    message = mail(subject=value) if name == "Subject" else mail(headers={name: value})
    try:
        octets = render(message)
    except ValueError:
        return
    parsed = email.message_from_bytes(octets)
    assert "Bcc" not in parsed
    assert parsed["Message-ID"]
    assert "Body" not in parsed.get_payload()


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n", "\n\n"])
def test_header_that_folds_into_two_is_refused(line_end: str) -> None:
    """The generator's own check refuses a raw line end in a value, on every Python, in a part as in the message."""
    tree = email.message.Message(policy=email.policy.compat32)
    tree.set_raw("X-Raw", f"a{line_end}\udcffBcc: evil@example.org")  # a surrogate: written as it is, never folded
    message = mail()
    message.message = lambda **_: tree  # type: ignore[method-assign,assignment]  # as an application overrides it
    if not _compat.MODERN_EMAIL_API:
        tree.as_bytes = lambda **_: b""  # type: ignore[method-assign]  # 5.2 asks for that argument
    with pytest.raises(HeaderInjection, match="X-Raw"):
        render(message)


def test_line_end_in_a_parts_header_name_never_makes_a_header() -> None:
    """The headers of an attachment are checked as the message's own are."""
    message = mail(attachments=[_attachment_with_header("X-A: b\r\nX-B", "c")])
    try:
        octets = render(message)
    except HeaderInjection:
        return
    assert b"\r\nX-B" not in octets  # this Python encodes the name


def _attachment_with_header(name: str, value: str) -> Any:  # noqa: ANN401 - the class depends on Django's version
    if _compat.MODERN_EMAIL_API:
        part = email.message.MIMEPart()
        part.set_content("x")
        part[name] = value
        return part
    from email.mime.text import MIMEText

    legacy = MIMEText("x")
    legacy[name] = value
    return legacy


def test_own_as_bytes_is_respected() -> None:
    """An application that serialises by itself, to sign, gets its octets sent."""

    class Signed(email.message.EmailMessage):
        def as_bytes(self, *args: Any, **kwargs: Any) -> bytes:  # noqa: ANN401 - the signature differs by version
            return b"DKIM-Signature: v=1\r\n" + bytes(super().as_bytes(policy=email.policy.SMTP))

    tree = Signed(policy=email.policy.SMTP)
    tree["Subject"] = "x"
    tree.set_content("y")
    serialised = serialise(tree)
    assert serialised.octets.startswith(b"DKIM-Signature: v=1\r\nSubject: x\r\n")
    assert serialised.header_names is None


def test_header_cache_is_bounded() -> None:
    """Thousands of different headers do not stay in memory."""
    registry: Any = POLICY.header_factory
    for number in range(CACHED_HEADERS * 2):
        registry("X-Number", str(number))
    assert registry._remembered.cache_info().currsize <= CACHED_HEADERS
    before = len(registry._classes)
    for number in range(100):
        registry(f"X-{number}", "value")
    assert len(registry._classes) <= before + 1
    assert registry._remembered.cache_info().currsize <= CACHED_HEADERS


def test_date_and_message_id_are_never_remembered() -> None:
    """What is new in each message does not push out what repeats."""
    registry: Any = POLICY.header_factory
    before = registry._remembered.cache_info().misses
    registry("Date", "Tue, 24 Nov 2026 06:30:00 -0000")
    registry("Message-ID", "<1@example.com>")
    registry("X-Long", "v" * 257)
    assert registry._remembered.cache_info().misses == before


def test_shared_header_folds_by_each_policy() -> None:
    """A remembered header gives each policy its own line ends and line length."""
    header = POLICY.header_factory("Subject", "word " * 30)
    crlf, lf = header.fold(policy=POLICY), header.fold(policy=email.policy.default)
    assert "\r\n" in crlf
    assert crlf.replace("\r\n", "\n") == lf
    assert header.fold(policy=POLICY.clone(max_line_length=200)).count("\r\n") == 1

"""From an ``EmailMessage`` to envelope and mail data: where it goes, what it says, and what is refused beforehand."""

from __future__ import annotations

import copy
import email.message
import email.policy
import re
from email.headerregistry import Address
from typing import TYPE_CHECKING, Any

import pytest
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from robust_email import _compat
from robust_email.messages import envelope_of, mail_data_of, to_submission
from robust_email.rendering import render
from robust_email.smtp.address import InvalidAddress
from robust_email.smtp.headers import header_names
from tests.djangoglue.message_corpus import CORPUS, mail
from tests.djangoglue.stock_django import sent_by_django

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.mail import EmailMessage


def paths(message: EmailMessage) -> tuple[str, list[str]]:
    """Return MAIL FROM and RCPT TO as they go on the wire, without brackets."""
    envelope = envelope_of(message)
    recipients = [path.to_path(smtputf8=False).strip("<>") for path in envelope.forward_paths]
    return envelope.reverse_path.to_path(smtputf8=False).strip("<>"), recipients


@pytest.mark.parametrize("build", CORPUS.values(), ids=CORPUS.keys())
def test_envelope_is_that_of_djangos_backend(build: Callable[[], EmailMessage]) -> None:
    """MAIL FROM and RCPT TO are Django's, but each mailbox is named once."""
    expected = sent_by_django(build())
    assert paths(build()) == (expected.sender, list(dict.fromkeys(expected.recipients)))


# From 6.0 Django writes UTF-16 as "8bit", NULs and all, which no server takes for text.
UNSENDABLE = {"body in UTF-16"} if _compat.MODERN_EMAIL_API else set()
SENDABLE = {name: build for name, build in CORPUS.items() if name not in UNSENDABLE}


@pytest.mark.parametrize("build", SENDABLE.values(), ids=SENDABLE.keys())
def test_any_message_of_the_corpus_can_be_submitted(build: Callable[[], EmailMessage]) -> None:
    """Each has one Message-ID, one Date, CRLF line ends and no Bcc, and the message is as it was before."""
    message = build()
    before = {name: copy.copy(value) for name, value in vars(message).items()}
    _, data = to_submission(message)
    names = [name.lower() for name in header_names(data.content)]
    assert names.count(b"message-id") == names.count(b"date") == 1
    assert b"bcc" not in names
    assert data.message_id
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", data.content)
    assert vars(message) == before


def test_envelope_ignores_headers() -> None:
    """A From, To or Cc among the headers is only read by people."""
    message = mail(
        headers={"From": "x@other.example", "To": "y@other.example", "Cc": "z@other.example"}, bcc=["b@example.org"]
    )
    assert paths(message) == ("shop@example.com", ["user@example.org", "b@example.org"])
    assert b"To: y@other.example\r\n" in mail_data_of(message).content


def test_blind_copies_stay_out_of_the_octets() -> None:
    """A bcc recipient is in the envelope and nowhere in the message."""
    envelope, data = to_submission(mail(bcc=["Hidden One <hidden@example.org>"]))
    assert "hidden@example.org" in map(str, envelope.forward_paths)
    assert b"idden" not in data.content


@pytest.mark.parametrize("name", ["Bcc", "bCC"])
def test_bcc_header_is_refused(name: str) -> None:
    """Django before 6.1 writes such a header for everyone to read; here each version refuses it."""
    with pytest.raises(ValueError, match=r'^Bcc is not a valid email header. Use the "bcc" argument'):
        to_submission(mail(headers={name: "hidden@example.org"}))


def test_resent_bcc_header_is_refused() -> None:
    """It tells as much as Bcc does (RFC 5322 3.6.6)."""
    with pytest.raises(ValueError, match="blind carbon copy"):
        to_submission(mail(headers={"Resent-Bcc": "hidden@example.org"}))


@pytest.mark.parametrize("added", [b"DKIM-Signature: v=1\r\n", b"Bcc: hidden@example.org\r\n"])
def test_application_that_serialises_by_itself_may_sign_but_not_disclose(added: bytes) -> None:
    """A header that its own ``as_bytes()`` adds goes out, unless it is Bcc."""

    class Signed(email.message.EmailMessage):
        def as_bytes(self, *args: Any, **kwargs: Any) -> bytes:  # noqa: ANN401 - the arguments differ by version
            return added + bytes(super().as_bytes(policy=email.policy.SMTP))

    tree = Signed(policy=email.policy.SMTP)
    tree["Subject"] = "x"
    tree.set_content("y")
    message = mail()
    message.message = lambda **_: tree  # type: ignore[method-assign]  # as an application overrides it
    if added.startswith(b"Bcc"):
        with pytest.raises(ValueError, match="Bcc"):
            to_submission(message)
    else:
        assert mail_data_of(message).content.startswith(added + b"Subject: x\r\n")


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example> NOTIFY=NEVER",
        "a@b.example>\r\nRCPT TO:<c@d.example",
        "a@b.example\n",
        "a@b.example, c@d.example",
        "<a@b.example> <c@d.example>",
        "a b@c.example",
        "alice@example.org)bob@example.org",
        "a@b@c.example",
        "Name <a@b.example",
        "@b.example",
        "a@",
        "a\0@b.example",
        "ünal@example.org",
        "Ünal <ünal@münchen.example>",
        " ",
    ],
)
@pytest.mark.parametrize("place", ["from_email", "to", "cc", "bcc"])
def test_bad_address_is_refused(address: str, place: str) -> None:
    """Anything but one ASCII mailbox raises "Invalid address" wherever it stands; a domain may be beyond ASCII."""
    message = mail(**{place: address if place == "from_email" else [address]})
    with pytest.raises(InvalidAddress, match=r"^Invalid address"):
        to_submission(message)


def test_domains_are_idna_encoded_once() -> None:
    """A domain beyond ASCII becomes A-labels; one that has them stays."""
    message = mail(from_email="Shop <shop@bücher.example>", to=["u@xn--mnchen-3ya.example"])
    assert paths(message) == ("shop@xn--bcher-kva.example", ["u@xn--mnchen-3ya.example"])


def test_address_may_be_lazy_an_object_or_without_a_domain() -> None:
    """What Django takes for an address is taken here."""
    message = mail(from_email=lazystr("django"), to=[Address("Ü", "a.b", "example.org"), lazystr("N <c@example.org>")])
    assert paths(message) == ("django", ["a.b@example.org", "c@example.org"])


def test_message_without_recipients_has_no_envelope() -> None:
    """The backend counts such a message 0 before it comes here; here it is an error."""
    with pytest.raises(ValueError, match="recipient"):
        to_submission(mail(to=[]))


@pytest.mark.parametrize("subject", ["a\nb", "a\rb", "a\r\nBcc: x@example.org"])
@pytest.mark.parametrize("header", ["Subject", "X-Any", "From", "To", "Reply-To", "Message-ID"])
def test_line_end_in_a_header_is_refused(subject: str, header: str) -> None:
    """Django's own check of values holds for each header."""
    message = mail(subject=subject) if header == "Subject" else mail(headers={header: subject})
    with pytest.raises(ValueError, match=r"(?i)newline|linefeed|CR or LF"):
        to_submission(message)


def test_nul_is_refused() -> None:
    """Servers disagree on a NUL, so none goes out."""
    with pytest.raises(ValueError, match="NUL"):
        to_submission(mail(body="a\0b"))
    for name in UNSENDABLE:
        with pytest.raises(ValueError, match="NUL"):
            to_submission(CORPUS[name]())


_LINE_ENDS = ["\r", "\n", "\r\n", "\x0b", "\x0c", "\x85", "\u2028"]
_ENCODED = ["=?utf-8?q?", "=?utf-8?b?", "?=", "=0A", "=0D", "=20", "DQo="]
_TOKENS = ["\0", " ", "\t", ":", "Bcc", "Bcc: e@example.org", "X-A", "a", "é", "\udcff", ".", "<", "@", ">", ","]
_HOSTILE = st.lists(st.sampled_from([*_LINE_ENDS, *_ENCODED, *_TOKENS]), max_size=12).map("".join)


def _mail_with(place: str, text: str) -> EmailMessage:
    if place == "display name":
        return mail(from_email=f"{text} <shop@example.com>", headers={"X-Before": "1", "X-After": "2"})
    if place == "file name":
        attachment = (text or None, b"x", "application/octet-stream")
        return mail(attachments=[attachment], headers={"X-Before": "1", "X-After": "2"})
    if place == "subject":
        return mail(subject=text, headers={"X-Before": "1", "X-After": "2"})
    name, value = (text, "v") if place == "header name" else ("X-Any", text)
    return mail(headers={"X-Before": "1", name: value, "X-After": "2"})


@pytest.mark.parametrize("place", ["subject", "header name", "header value", "display name", "file name"])
@given(text=_HOSTILE)
def test_hostile_text_never_makes_a_header(place: str, text: str) -> None:
    """Whatever stands there: refused, or the header block has what was set, for strict and for lenient readers."""
    message = _mail_with(place, text)
    try:
        envelope, data = to_submission(message)
    except (ValueError, IndexError, AttributeError, TypeError):
        return  # Python 3.12's parser itself breaks on some of these, in Django as here
    djangos_own = ["subject", "from", "to", "date", "message-id", "mime-version", "content-type"]
    expected = sorted([*djangos_own, *(name.lower() for name in message.extra_headers)])
    fields = sorted(name.decode().lower() for name in header_names(data.content))
    assert [name for name in fields if name != "content-transfer-encoding"] == expected
    for octets in (data.content, data.content.replace(b"\r\n", b"\n")):
        parsed = email.message_from_bytes(octets)
        assert parsed["X-After"] == "2"
        assert not any("Bcc" in part for part in parsed.walk())
    assert [str(path) for path in envelope.forward_paths] == ["user@example.org"]


def test_octets_are_those_of_render() -> None:
    """Mail data adds no more than the last line end, which smtplib adds too."""
    headers = {"Date": "Tue, 24 Nov 2026 06:30:00 -0000", "Message-ID": "<1@example.com>"}
    assert (
        mail_data_of(mail(headers=headers, body="x")).content.rstrip()
        == render(mail(headers=headers, body="x")).rstrip()
    )

"""Envelopes: who a mail is from and for, and the parameters that go with it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.address import ForwardPath, InvalidAddress, ReversePath
from robust_email.smtp.envelope import DeliveryStatusOptions, Envelope, xtext


def test_recipients_keep_their_order_and_the_first_spelling() -> None:
    """A mailbox given twice is one recipient; the order is the caller's."""
    envelope = Envelope.of("s@x.org", iter(["b@X.org", "a@x.org", "b@x.ORG", "B@x.org", "a@x.org"]))
    assert [str(path) for path in envelope.forward_paths] == ["b@X.org", "a@x.org", "B@x.org"]
    assert str(envelope.reverse_path) == "s@x.org"


def test_null_sender() -> None:
    """An empty sender is the null reverse path."""
    assert Envelope.of("", ["a@b"]).reverse_path == ReversePath(None)


def test_no_recipient_is_refused() -> None:
    """There is no transaction without a recipient."""
    with pytest.raises(ValueError, match="at least one recipient"):
        Envelope.of("s@x.org", [])


def test_doubled_recipient_cannot_be_constructed() -> None:
    """Each reply to RCPT belongs to one mailbox, whoever builds the envelope."""
    with pytest.raises(ValueError, match="twice"):
        Envelope(ReversePath(None), (ForwardPath.of("a@b"), ForwardPath.of("a@B")))


@pytest.mark.parametrize(("sender", "recipient"), [("a@b>", "c@d"), ("a@b", "c@d> NOTIFY=NEVER"), ("a@b", "")])
def test_bad_address_is_refused(sender: str, recipient: str) -> None:
    """S1 to S4: one bad address and there is no envelope."""
    with pytest.raises(InvalidAddress):
        Envelope.of(sender, ["ok@x.org", recipient])


@pytest.mark.parametrize(
    ("sender", "recipients", "headers", "needed"),
    [
        ("a@b", ["c@d"], False, False),
        ("a@b", ["c@bücher.example"], False, False),
        ("josé@b", ["c@d"], False, True),
        ("a@b", ["c@d", "josé@d"], False, True),
        ("a@b", ["c@d"], True, True),
    ],
)
def test_smtputf8_is_needed_for_what_has_no_encoding(
    sender: str,
    recipients: list[str],
    headers: bool,  # noqa: FBT001 - a table of cases
    needed: bool,  # noqa: FBT001 - the same
) -> None:
    """S28: local parts and headers in raw UTF-8 need the extension; domains don't."""
    assert Envelope.of(sender, recipients, smtputf8=headers).needs_smtputf8 is needed


def test_delivery_status_parameters() -> None:
    """RET and ENVID go with MAIL, NOTIFY with RCPT, in RFC 3461's spelling."""
    options = DeliveryStatusOptions(ret="HDRS", envid="order 7+=x", notify=("FAILURE", "DELAY"))
    assert options.mail_parameters() == ("RET=HDRS", "ENVID=order+207+2B+3Dx")
    assert options.rcpt_parameters() == ("NOTIFY=FAILURE,DELAY",)
    assert Envelope.of("a@b", ["c@d"], delivery_status=options).delivery_status is options


def test_no_delivery_status_parameters_by_default() -> None:
    """Nothing is asked for unless somebody asks."""
    options = Envelope.of("a@b", ["c@d"]).delivery_status
    assert (options.mail_parameters(), options.rcpt_parameters()) == ((), ())


@pytest.mark.parametrize(
    "values",
    [
        {"ret": "BODY"},
        {"ret": "FULL\r\nDATA"},
        {"envid": ""},
        {"envid": "x" * 101},
        {"envid": "a\r\nDATA"},
        {"envid": "é"},
        {"notify": ("ALWAYS",)},
        {"notify": ("NEVER", "DELAY")},
        {"notify": ("DELAY", "DELAY")},
        {"notify": ("FAILURE SIZE=1",)},
    ],
)
def test_bad_delivery_status_options_are_refused(values: dict[str, Any]) -> None:
    """S17: a parameter that RFC 3461 doesn't know, or a line end in one, never becomes part of a command."""
    with pytest.raises(ValueError, match=r"RFC 3461|xtext"):
        DeliveryStatusOptions(**values)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext_round_trip(text: str) -> None:
    """An independent decoder gets the text back, and the encoded form has neither space nor equals sign."""
    encoded = xtext(text)
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", encoded)
    assert re.sub(r"\+(..)", lambda match: chr(int(match[1], 16)), encoded) == text

"""The mails with codes, as octets."""

from __future__ import annotations

import email
import email.policy
import re
from typing import TYPE_CHECKING

import pytest
from django.core import mail

from authentication.verification.emails import build_code_email, message_id_of
from authentication.verification.models import Purpose, VerificationCode
from authentication.verification.services import issue_code
from robust_email.messages import mail_data_of

if TYPE_CHECKING:
    from email.message import EmailMessage

    from authentication.core.models import User


@pytest.fixture(params=list(Purpose))
def any_code(request: pytest.FixtureRequest, customer: User) -> VerificationCode:
    """Give a code of each purpose."""
    issued = issue_code(user=customer, purpose=request.param)
    assert issued is not None
    return issued


def parsed(code: VerificationCode) -> EmailMessage:
    octets = mail_data_of(build_code_email(code)).content
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage)
    return message


def test_every_attempt_has_the_same_octets(any_code: VerificationCode) -> None:
    """A retry carries the same Message-ID, Date, boundary and text, so that a receiver sees one mail."""
    first = mail_data_of(build_code_email(any_code)).content
    again = mail_data_of(build_code_email(VerificationCode.objects.get(pk=any_code.pk))).content
    assert first == again


def test_another_code_is_another_mail(customer: User) -> None:
    """Each generation and purpose has a Message-ID of its own."""
    one = VerificationCode(user=customer, purpose=Purpose.VERIFY_EMAIL)
    two = VerificationCode(user=customer, purpose=Purpose.VERIFY_EMAIL)
    other = VerificationCode(user=customer, purpose=Purpose.RESET_PASSWORD, nonce=one.nonce)
    assert len({message_id_of(code) for code in (one, two, other)}) == 3


def test_the_code_stands_in_text_and_html(any_code: VerificationCode) -> None:
    """Both parts hold the code, and the expiry that the database has."""
    message = parsed(any_code)
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        assert any_code.code in part.get_content()
        assert any_code.expires_at.strftime("%H:%M") in part.get_content()


def test_the_code_stands_in_no_header(any_code: VerificationCode) -> None:
    """Headers are logged and indexed on the way: neither the code nor the nonce is in one."""
    headers = "\n".join(f"{name}: {value}" for name, value in parsed(any_code).items())
    assert any_code.code not in headers
    assert any_code.nonce not in headers


def test_headers_are_what_account_mails_need(any_code: VerificationCode) -> None:
    """One From from the settings, one To, Auto-Submitted (S30), no List-Unsubscribe (S33), nothing blind."""
    message = parsed(any_code)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == mail.EmailMessage().from_email
    assert message["To"] == any_code.user.email
    assert not {"list-unsubscribe", "bcc"} & {name.lower() for name in message.keys()}  # noqa: SIM118 - headers


def test_html_needs_nothing_from_elsewhere(any_code: VerificationCode) -> None:
    """No picture, script or style is loaded from a server, and there is no link to burn or to forge."""
    part = parsed(any_code).get_body(("html",))
    assert part is not None
    assert not re.search(r"https?://|<img|<script|<a\s", part.get_content())

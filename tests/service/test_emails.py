"""The mails to customers, as octets: in each language, for each kind (V26, V27, V37; S30, S33)."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage
from pathlib import Path

import pytest
from django.conf import settings as project
from django.utils import translation

from authentication.core.models import User
from authentication.verification.emails import build_email
from authentication.verification.kinds import KIND_OF_TEMPLATE
from e_commerce_api.shopfront.preview import TEMPLATES, example
from robust_email.messages import mail_data_of
from tests.service.customers import ADDRESS, Device, mails, parsed, text_of

LANGUAGES = [code for code, _ in project.LANGUAGES]
GOLDEN = Path(__file__).with_name("golden")


def message_of(name: str, language: str = "en") -> EmailMessage:
    octets = mail_data_of(example(name, language)).content
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content())


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_v37_each_mail_has_both_parts_in_each_language(name: str, language: str) -> None:
    """Text and HTML, the language and its direction said to the reader's machine, and no text left in English."""
    message = message_of(name, language)
    html = part(message, "html")
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in html
    assert message["Subject"].strip()
    if language != "en":
        assert message["Subject"] != message_of(name)["Subject"]
        assert part(message, "plain") != part(message_of(name), "plain")
    with translation.override("en"):
        assert not re.search(r"{[{%]", html + part(message, "plain"))


@pytest.mark.parametrize("name", TEMPLATES)
def test_headers_are_what_account_mails_need(name: str) -> None:
    """One From from the settings, one To, Auto-Submitted (S30), no List-Unsubscribe (S33), nothing blind."""
    message = message_of(name)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == project.DEFAULT_FROM_EMAIL
    assert not {"list-unsubscribe", "bcc"} & {header.lower() for header in message.keys()}  # noqa: SIM118 - headers
    assert message["Message-ID"].endswith("@shop.example>")


@pytest.mark.parametrize("name", TEMPLATES)
def test_html_needs_nothing_from_elsewhere(name: str) -> None:
    """No picture, script or style is loaded from a server; styles are inline, dark colours behind a media query."""
    html = part(message_of(name), "html")
    assert not re.search(r"<img|<script|<link|@import|src=|url\(", html)
    assert 'style="' in html
    assert re.findall(r"@media[^{]*", html) == ["@media (prefers-color-scheme: dark) "]


@pytest.mark.parametrize("name", ["email_confirmation_signup", "email_confirmation", "password_reset_code"])
def test_the_code_stands_in_text_and_html_and_in_no_header(name: str) -> None:
    """It can be selected with one click, and headers, which are logged on the way, do not have it."""
    message = message_of(name)
    for kind in ("plain", "html"):
        assert "WXRT-KPLM" in part(message, kind)
        assert re.search(r"until \d\d:\d\d UTC: for 30 minutes", " ".join(part(message, kind).split()))
    assert "user-select: all" in part(message, "html")
    assert "WXRT" not in "".join(f"{header}: {content}" for header, content in message.items())


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_text_is_what_was_read_and_agreed(name: str, language: str) -> None:
    """The golden text, apart from times. To renew the files after a look at the change: delete them."""
    text = re.sub(r"\d\d:\d\d|\d{4}-\d\d-\d\d", "(time)", part(message_of(name, language), "plain"))
    subject = message_of(name, language)["Subject"].strip()
    said = "\n".join([subject, "", *text.splitlines(), ""])
    path = GOLDEN / f"{name}.{language}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(said, encoding="utf-8")
        pytest.fail(f"{path.name} was missing and is written now: read it")
    assert said == path.read_text(encoding="utf-8")


def test_every_mail_that_allauth_asks_for_is_known() -> None:
    """A template without a kind would be an error in a customer's request."""
    ours = Path(__file__).parents[2] / "authentication/verification/templates/account/email"
    names = {path.name.removesuffix("_subject.txt") for path in ours.glob("*_subject.txt")}
    assert {template.rpartition("/")[2] for template in KIND_OF_TEMPLATE} == names


@pytest.mark.parametrize(
    "evil", ["<b>http://evil.example</b>", "{{ settings.SECRET_KEY }}", "{% debug %}", "a\nBcc: x@y"]
)
def test_v26_v27_what_a_customer_writes_is_text(evil: str) -> None:
    """In HTML it is escaped, template code stays as it is, and in a header it adds no line."""
    values = {"number": evil, "lines": [{"product": evil, "quantity": 1, "price": "1.00 EUR"}], "total": evil}
    built = build_email(template="orders/confirmation", to=ADDRESS, language="en", context=values)
    message = email.message_from_bytes(mail_data_of(built).content, policy=email.policy.default)
    assert "Bcc" not in message
    html = str(built.alternatives[0][0])
    assert "<b>http://evil" not in html
    if evil.startswith("{"):
        assert evil in str(built.body)


def test_v26_account_mails_say_nothing_that_a_stranger_wrote(db: None) -> None:
    """No name, no User-Agent, no Host header gets into a mail that anybody can cause."""
    Device(**{"User-Agent": "http://evil.example"}).sign_up(**{"Accept-Language": "en"})
    (mail,) = mails()
    assert b"evil" not in bytes(mail.content or b"")
    assert b"testserver" not in bytes(mail.content or b"")


@pytest.mark.parametrize(
    ("asked", "language"),
    [("de", "de"), ("ar-EG,ar;q=0.9", "ar"), ("fr", "en"), ("", "en"), ("x" * 5000, "en"), ("de\tBcc: x@y", "en")],
)
def test_v37_the_customer_is_written_to_in_his_language(db: None, asked: str, language: str) -> None:
    """That of the registration; one that we have not, or that is none, is English."""
    Device().sign_up(**{"Accept-Language": asked})
    assert User.objects.get().language == language
    (mail,) = mails()
    assert f'<html lang="{language}"' in text_of(mail, "html")
    assert parsed(mail)["Bcc"] is None


def test_v37_a_reset_is_in_the_customers_language_and_not_in_the_askers(customer: User) -> None:
    """Whoever asks with another language changes nothing in the mail."""
    User.objects.filter(pk=customer.pk).update(language="de")
    Device().ask_for_reset(**{"Accept-Language": "ar"})
    assert '<html lang="de"' in text_of(mails()[0], "html")

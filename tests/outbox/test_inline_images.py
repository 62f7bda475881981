"""A picture inside a mail, attached in each way that Django takes it: stored and accepted as Django writes it."""

from __future__ import annotations

import email
import email.message
import random
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMultiAlternatives

from robust_email import _compat
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage
from robust_email.testing import Extensions

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.testing import ScriptedServer

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256)) * 3
HTML = '<p>Grüße <img src="cid:logo"></p>\r\n.\r\n..a dot begins this line\r\n'
HEADERS = {"Date": "Tue, 24 Nov 2026 06:30:00 -0000", "Message-ID": "<pinned@example.org>"}


def mail() -> EmailMultiAlternatives:
    """Build a mail whose octets depend on nothing but the boundaries that are drawn for it."""
    return EmailMultiAlternatives("Grüße", "Grüße\n.\n", "shop@example.org", ["ann@example.net"], headers=HEADERS)


def legacy_image() -> MIMEImage:
    """Build the picture as recipes on the web do."""
    image = MIMEImage(PNG, "png")
    image.add_header("Content-ID", "<logo>")
    image.add_header("Content-Disposition", "inline")
    return image


def as_subtype() -> EmailMultiAlternatives:
    """Turn the whole mail into a ``multipart/related``; Django 6.0 has no such attribute any more."""
    message = mail()
    message.attach_alternative(HTML, "text/html")
    vars(message)["mixed_subtype"] = "related"
    message.attach(legacy_image())
    return message


def as_legacy_tree() -> EmailMultiAlternatives:
    """Attach a ``multipart/related`` of the old classes, deprecated from Django 6.0 and still in use."""
    message, related = mail(), MIMEMultipart("related")
    related.attach(MIMEText(HTML, "html", "utf-8"))
    related.attach(legacy_image())
    message.attach(related)
    return message


def as_modern_part() -> EmailMultiAlternatives:
    """Attach a ``MIMEPart`` with a related one, which Django takes from 6.0."""
    message, part = mail(), email.message.MIMEPart()
    part.set_content(HTML, subtype="html")
    part.add_related(PNG, maintype="image", subtype="png", disposition="inline", cid="<logo>")
    message.attach(part)
    return message


OLD = pytest.mark.skipif(_compat.MODERN_EMAIL_API, reason="Django 6.0 has no mixed_subtype")
NEW = pytest.mark.skipif(not _compat.MODERN_EMAIL_API, reason="Django 5.2 takes no MIMEPart")


@pytest.mark.filterwarnings("ignore:.*MIMEBase")
@pytest.mark.parametrize("extensions", [Extensions(), Extensions(chunking=False)], ids=["BDAT", "DATA"])
@pytest.mark.parametrize(
    "build", [pytest.param(as_subtype, marks=OLD), as_legacy_tree, pytest.param(as_modern_part, marks=NEW)]
)
def test_an_inline_image_arrives_byte_for_byte(
    relay: ScriptedServer,
    smtp_faults: Callable[..., ScriptedServer],
    settings: Settings,
    build: Callable[[], EmailMultiAlternatives],
    extensions: Extensions,
) -> None:
    """The row and the relay have the octets of ``message().as_bytes()`` with CRLF, and in them the picture."""
    server = smtp_faults(extensions=extensions)
    settings.EMAIL_PORT = server.port
    random.seed(4711)  # the boundaries
    lines = build().message().as_bytes()
    assert b"\r" not in lines
    expected = lines.replace(b"\n", b"\r\n")
    random.seed(4711)
    build().send()
    assert bytes(OutboxMessage.objects.get().content or b"") == expected
    run_batch()
    assert [each.data for each in server.accepted] == [expected]
    [related] = [part for part in email.message_from_bytes(expected).walk() if part.get_content_subtype() == "related"]
    assert [part.get_payload(decode=True) for part in related.walk() if part["Content-ID"] == "<logo>"] == [PNG]

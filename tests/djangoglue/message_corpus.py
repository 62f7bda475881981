"""Messages as applications write them: one of each kind that a serialiser can get wrong.

Each entry builds a new message, since serialising may leave marks on a MIME tree.
"""

from __future__ import annotations

import email
import email.policy
import warnings
from email.headerregistry import Address
from email.message import EmailMessage as StdlibMessage
from email.message import Message
from email.mime.image import MIMEImage
from email.mime.text import MIMEText
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe

from robust_email import _compat

if TYPE_CHECKING:
    from collections.abc import Callable

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256)) * 3
EURO = "Grüße aus Köln, das macht 12 €, спасибо, ありがとう"
HTML = "<p>Your order <b>4711</b> is on its way. &lt;3</p>\n"
LONG_LINE = "x" * 1500
FORWARDED = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: =?utf-8?q?inner_=C3=A9?=\r\n\r\nInner body\r\n"


def mail(**changes: Any) -> EmailMessage:  # noqa: ANN401 - EmailMessage's own arguments
    """Build a plain mail that differs in ``changes``."""
    arguments: dict[str, Any] = {
        "subject": "Your order 4711",
        "body": "Dear customer,\nit is on its way.\n",
        "from_email": "Shop <shop@example.com>",
        "to": ["user@example.org"],
    }
    return EmailMessage(**(arguments | changes))


def html(**changes: Any) -> EmailMultiAlternatives:  # noqa: ANN401 - the same
    """Build a mail with a text and an HTML body."""
    arguments: dict[str, Any] = {
        "subject": "Your order 4711",
        "body": "Your order 4711 is on its way.\n",
        "from_email": "Shop <shop@example.com>",
        "to": ["user@example.org"],
        "alternatives": [(HTML, "text/html")],
    }
    return EmailMultiAlternatives(**(arguments | changes))


def attributes(message: EmailMessage, **values: object) -> EmailMessage:
    """Set attributes that ``__init__`` does not take."""
    for name, value in values.items():
        setattr(message, name, value)
    return message


class Shouting(EmailMessage):
    """An application's class with a ``message()`` of its own, written as its Django asks for it."""

    if _compat.MODERN_EMAIL_API:

        def message(self, *, policy: Any = email.policy.default) -> Any:  # noqa: ANN401 - weblate's signature
            """Add a header to the tree."""
            return self._shout(super().message(policy=policy))
    else:

        def message(self) -> Any:  # type: ignore[misc]  # noqa: ANN401 - Django 5.2's signature
            """Add a header to the tree."""
            return self._shout(super().message())

    @staticmethod
    def _shout(tree: Message) -> Message:
        tree["X-Shout"] = "HEY"
        return tree


def with_tree_attachment(subtype: str = "mixed") -> EmailMessage:
    """Attach a MIME object that the application made: a legacy one on 5.2, a MIMEPart from 6.0."""
    if not _compat.MODERN_EMAIL_API:
        image = MIMEImage(PNG, "png")
        image.add_header("Content-ID", "<logo>")
        message = html(attachments=[image])
        return attributes(message, mixed_subtype=subtype)
    part = email.message.MIMEPart()
    part.set_content(PNG, maintype="image", subtype="png", disposition="inline", cid="<logo>")
    return html(attachments=[part])


def with_legacy_attachment() -> EmailMessage:
    """Attach a ``MIMEText``, deprecated from 6.0 and still in use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mail(attachments=[MIMEText("Köln", "plain", "utf-8")])


def with_stdlib_forward() -> EmailMessage:
    """Forward a message object of the standard library."""
    inner = StdlibMessage(policy=email.policy.SMTP)
    inner["Subject"] = "Inner é"
    inner["From"] = "a@example.org"
    inner.set_content(EURO)
    return mail(attachments=[("f.eml", inner, "message/rfc822")])


def _many(count: int) -> list[str]:
    return [f"Customer Number {i} <customer{i}@shop-{i}.example.org>" for i in range(count)]


CORPUS: dict[str, Callable[[], EmailMessage]] = {
    "text": mail,
    "text without a final line end": lambda: mail(body="Hello"),
    "text with several final line ends": lambda: mail(body="Hello\n\n\n"),
    "empty body": lambda: mail(body=""),
    "empty subject": lambda: mail(subject=""),
    "CRLF, CR and LF in the body": lambda: mail(body="a\r\nb\rc\nd\r\n\r\n\re"),
    "vertical tab, form feed and U+2028 in the body": lambda: mail(body="a\vb\fc\u2028d\x85e\x1cf\n"),
    "dots at the beginning of lines": lambda: mail(body=".\n..\n.hidden\n\n.\n"),
    "From at the beginning of a line": lambda: mail(body="From here\n>From there\n"),
    "non-ASCII body": lambda: mail(body=EURO),
    "non-ASCII body, mostly Latin": lambda: mail(body="Größe: 5\n" * 40),
    "body of emoji": lambda: mail(body="\U0001f600" * 60),
    "long line": lambda: mail(body=LONG_LINE),
    "long non-ASCII line": lambda: mail(body="é" * 700),
    "line of exactly 998": lambda: mail(body="y" * 998 + "\n"),
    "long body of many lines": lambda: mail(body="A line of text as it comes.\n" * 3000),
    "body in ISO 8859-1": lambda: attributes(mail(body="Größe"), encoding="iso-8859-1"),
    "body in UTF-16": lambda: attributes(mail(body="Größe"), encoding="utf-16"),
    "body in ISO 2022-JP": lambda: attributes(mail(body="ありがとう"), encoding="iso-2022-jp"),
    "body in US-ASCII": lambda: attributes(mail(), encoding="us-ascii"),
    "HTML as the only body": lambda: attributes(mail(body=HTML), content_subtype="html"),
    "lazy body and subject": lambda: mail(subject=lazystr("Hällo"), body=lazystr("Lazy bödy")),
    "safe strings": lambda: mail(subject=mark_safe("Safe & söund"), body=mark_safe(HTML)),  # noqa: S308 - as templates
    "non-ASCII subject": lambda: mail(subject=EURO),
    "long ASCII subject": lambda: mail(subject="All the news that is fit to print about your order, " * 6),
    "long subject without a space": lambda: mail(subject="z" * 400),
    "long non-ASCII subject": lambda: mail(subject=EURO * 9),
    "subject with spaces to keep": lambda: mail(subject="  two  spaces  and\ta tab "),
    "subject that looks encoded": lambda: mail(subject="=?utf-8?q?gr=C3=BC=C3=9Fe?= and more"),
    "subject with quotes and specials": lambda: mail(subject='"Quoted" (comment) <x@y>; a, b: c\\d'),
    "display name with a comma": lambda: mail(from_email='"Shop, The" <shop@example.com>'),
    "non-ASCII display name": lambda: mail(from_email="Bücher & mehr <shop@example.com>", to=["Ünal <u@example.org>"]),
    "long non-ASCII display name": lambda: mail(from_email=f'"{EURO}" <shop@example.com>'),
    "non-ASCII domain": lambda: mail(from_email="shop@bücher.example", to=["Ünal <u@münchen.example>"]),
    "already encoded domain": lambda: mail(to=["u@xn--mnchen-3ya.example"]),
    "address without a domain": lambda: mail(from_email="django", to=["webmaster"]),
    "lazy addresses": lambda: mail(from_email=lazystr("Shop <shop@example.com>"), to=[lazystr("u@example.org")]),
    "Address objects": lambda: mail(
        from_email=Address("Shöp", "shop", "example.com"), to=[Address("A, B", "a.b", "example.org")]
    ),
    "three recipients": lambda: mail(to=_many(3)),
    "a hundred recipients": lambda: mail(to=_many(60), cc=_many(40)),
    "cc, bcc and reply-to": lambda: mail(cc=["c@example.org"], bcc=["b@example.org"], reply_to=["R é <r@example.org>"]),
    "bcc alone": lambda: mail(to=[], bcc=["b@example.org"]),
    "one recipient twice": lambda: mail(to=["a@example.org"], cc=["a@example.org"]),
    "From overridden by a header": lambda: mail(headers={"From": "Boss <boss@example.com>"}),
    "To and Cc overridden by headers": lambda: mail(headers={"To": "list@example.com", "Cc": "Öl <o@example.com>"}),
    "Reply-To as a header": lambda: mail(headers={"Reply-To": "Help <help@example.com>"}),
    "own Date and Message-ID": lambda: mail(
        headers={"date": "Fri, 09 Nov 2001 01:08:47 -0000", "Message-ID": "<own@example.com>"}
    ),
    "header names in odd case": lambda: mail(headers={"mEsSaGe-Id": "<odd@example.com>", "x-odd": "1"}),
    "custom headers": lambda: mail(
        headers={"X-Campaign": "spring", "List-Unsubscribe": "<https://example.com/u?t=1>", "X-Umlaut": EURO}
    ),
    # From 6.0 a number is a TypeError, in Django as here.
    "header value that is a number": lambda: mail(headers={"X-Priority": "1" if _compat.MODERN_EMAIL_API else 1}),
    "lazy header value": lambda: mail(headers={"X-Lazy": lazystr("später")}),
    "long custom header": lambda: mail(headers={"References": " ".join(f"<{i}.{i}@example.com>" for i in range(40))}),
    "long custom header without a space": lambda: mail(headers={"X-Token": "t" * 600}),
    "Sender header": lambda: mail(headers={"Sender": "Böt <bot@bücher.example>"}),
    "empty header": lambda: mail(headers={"X-Empty": ""}),
    "MIME headers given by the application": lambda: mail(
        headers={"X-Mailer": "a", "Auto-Submitted": "auto-generated"}
    ),
    "text and HTML": html,
    "text and non-ASCII HTML": lambda: html(body=EURO, alternatives=[(f"<p>{EURO}</p>", "text/html")]),
    "HTML alternative with a long line": lambda: html(alternatives=[(f"<p>{LONG_LINE}</p>", "text/html")]),
    "HTML alternative without text": lambda: html(body=""),
    "three alternatives": lambda: html(
        alternatives=[(HTML, "text/html"), ("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "text/calendar")]
    ),
    "alternative that is no text": lambda: html(alternatives=[(PNG, "image/png")]),
    "no alternatives in EmailMultiAlternatives": lambda: html(alternatives=[]),
    "alternatives in ISO 8859-1": lambda: attributes(
        html(alternatives=[("<p>é</p>", "text/html")]), encoding="latin-1"
    ),
    "binary attachment": lambda: mail(attachments=[("logo.png", PNG, "image/png")]),
    "attachment of unknown type": lambda: mail(attachments=[("blob", PNG, None)]),
    "attachment without a name": lambda: mail(attachments=[(None, PNG, "application/pdf")]),
    "empty attachment": lambda: mail(attachments=[("empty.bin", b"", "application/octet-stream")]),
    "text attachment": lambda: mail(attachments=[("notes.txt", "a,b\r\nc,d\n", "text/plain")]),
    "non-ASCII text attachment": lambda: mail(attachments=[("notes.csv", f"{EURO}\n", "text/csv")]),
    "text attachment in bytes": lambda: mail(attachments=[("notes.txt", EURO.encode(), "text/plain")]),
    "text attachment that is not UTF-8": lambda: mail(attachments=[("notes.txt", b"\xff\xfe\x00bin", "text/plain")]),
    "attachment with a non-ASCII name": lambda: mail(attachments=[("Rechnung Größe €.pdf", PNG, "application/pdf")]),
    "attachment with a long name": lambda: mail(attachments=[("n" * 200 + ".pdf", PNG, "application/pdf")]),
    "attachment with quotes in its name": lambda: mail(attachments=[('a "b"; c.pdf', PNG, "application/pdf")]),
    "several attachments": lambda: html(attachments=[(f"{i}.png", PNG * i, "image/png") for i in range(4)]),
    "attachment without a body": lambda: mail(body="", attachments=[("logo.png", PNG, "image/png")]),
    "attachment of 200 KB": lambda: mail(attachments=[("big.bin", PNG * 256, "application/octet-stream")]),
    "inline image": with_tree_attachment,
    "legacy MIME attachment": with_legacy_attachment,
    "forwarded bytes": lambda: mail(attachments=[("f.eml", FORWARDED, "message/rfc822")]),
    "forwarded text": lambda: mail(attachments=[("f.eml", FORWARDED.decode(), "message/rfc822")]),
    "forwarded legacy message": lambda: mail(
        attachments=[("f.eml", email.message_from_bytes(FORWARDED), "message/rfc822")]
    ),
    "forwarded stdlib message": with_stdlib_forward,
    "forwarded Django message": lambda: mail(
        attachments=[("f.eml", html(subject=EURO, attachments=[("a.png", PNG, "image/png")]), "message/rfc822")]
    ),
    "forwarded 8-bit message": lambda: mail(
        attachments=[
            ("f.eml", b"Subject: x\nContent-Type: text/plain; charset=utf-8\n\ncaf\xc3\xa9\n", "message/rfc822")
        ]
    ),
    "everything": lambda: html(
        subject=EURO,
        body=EURO,
        from_email="Bücher <shop@bücher.example>",
        to=_many(5),
        cc=["Ö <o@example.org>"],
        reply_to=["help@example.com"],
        headers={"X-Umlaut": EURO, "Message-ID": "<everything@example.com>"},
        attachments=[
            ("a.png", PNG, "image/png"),
            ("ü.txt", EURO, "text/plain"),
            ("f.eml", FORWARDED, "message/rfc822"),
        ],
    ),
    "an application's own message()": lambda: Shouting("Hi", "Hello", "a@example.com", ["b@example.org"]),
}

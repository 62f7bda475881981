"""A stored mail as the ``EmailMessage`` that a backend of any kind takes, with the stored octets inside.

A backend that serialises (SMTP, a file, the console) gets the exact octets from ``message().as_bytes()``. One that
reads attributes and calls an HTTP interface gets subject, bodies and attachments parsed out of them; attributes of its
own that an application had set (tags, merge data) are not among the octets, and so are gone.
"""

from __future__ import annotations

import email.message
import email.policy
from email.parser import BytesParser
from email.utils import formataddr, getaddresses
from typing import TYPE_CHECKING, Any, Final

from django.core.mail import EmailMultiAlternatives

if TYPE_CHECKING:
    from collections.abc import Sequence

_READ_AS_ATTRIBUTES: Final = frozenset({"subject", "from", "to", "cc", "bcc", "reply-to", "mime-version"})


class StoredTree(email.message.EmailMessage):
    """A parsed message whose serialisation is what it was parsed from."""

    octets: bytes | None = None

    def as_bytes(self, *args: Any, **kwargs: Any) -> bytes:  # noqa: ANN401 - Python's and Django's
        """Return the stored octets; parts of the tree are serialised as usual."""
        return self.octets if self.octets is not None else super().as_bytes(*args, **kwargs)


class StoredMessage(EmailMultiAlternatives):
    """What is handed to the backend. ``message()`` gives the stored octets, whatever is done to the attributes."""

    stored: StoredTree

    def message(self, *_: object, **__: object) -> StoredTree:
        """Return the tree; a policy is of no use to octets that are there."""
        return self.stored


def stored_message(octets: bytes, reverse_path: str, recipients: Sequence[str]) -> StoredMessage:
    """Make the message for the recipients that are still open: it goes to these and to no other."""
    tree = BytesParser(StoredTree, policy=email.policy.SMTP).parsebytes(octets)
    assert isinstance(tree, StoredTree)  # noqa: S101 - the parser's stubs don't know its class argument
    to, cc = _named(tree, "To", recipients), _named(tree, "Cc", recipients)
    shown = {addr for _, addr in getaddresses([*to, *cc])}
    message = StoredMessage(
        subject=str(tree.get("Subject", "")),
        from_email=_sender(tree, reverse_path),
        to=to,
        cc=cc,
        bcc=[recipient for recipient in recipients if recipient not in shown],
        reply_to=[str(value) for value in tree.get_all("Reply-To", [])],
        headers=_headers(tree),
    )
    _add_content(message, tree)
    tree.octets = octets
    message.stored = tree
    return message


def _named(tree: StoredTree, header: str, recipients: Sequence[str]) -> list[str]:
    """Return the header's mailboxes as far as they are among the recipients."""
    found = getaddresses([str(value) for value in tree.get_all(header, [])])
    return [formataddr((name, addr)) for name, addr in found if addr in recipients]


def _sender(tree: StoredTree, reverse_path: str) -> str:
    """Return the header's form where it is the same mailbox: backends make the envelope's sender of it."""
    shown = str(tree.get("From", ""))
    return shown if [addr for _, addr in getaddresses([shown])] == [reverse_path] else reverse_path


def _headers(tree: StoredTree) -> dict[str, str]:
    return {
        name: str(value)
        for name, value in tree.items()
        if name.lower() not in _READ_AS_ATTRIBUTES and not name.lower().startswith("content-")
    }


def _add_content(message: StoredMessage, tree: StoredTree) -> None:
    plain, html = tree.get_body(("plain",)), tree.get_body(("html",))
    message.body = _text(plain) if plain is not None else ""
    if html is not None:
        if plain is None:
            message.body, message.content_subtype = _text(html), "html"
        else:
            message.attach_alternative(_text(html), "text/html")
    for part in tree.walk():
        if part.is_multipart() or part is plain or part is html:
            continue
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            message.attach(part.get_filename(), content, part.get_content_type())


def _text(part: email.message.Message) -> str:
    payload = part.get_payload(decode=True)
    octets = payload.replace(b"\r\n", b"\n") if isinstance(payload, bytes) else b""
    try:
        return octets.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:
        return octets.decode("utf-8", "replace")

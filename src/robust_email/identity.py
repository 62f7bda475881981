"""Give a message that is tried again the Message-ID and the Date of its first attempt (RFC 5322 3.6.1, 3.6.4).

Django makes new ones each time a message is serialised. If the first attempt ended in doubt, and the application calls
``send()`` once more, the receiver may then get two copies that it cannot recognise as one mail.

Only an attempt that did *not* end in acceptance may be remembered (``keep_identity``), and it is remembered as long as
the message has not changed: an application that sends one object to many people, or the same alert every day, sends
different mails, which need different Message-IDs. Nothing is written to the message itself, and no octets are held.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from robust_email.message_id import has_header, with_first_headers
from robust_email.smtp.headers import header_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.mail import EmailMessage

    from robust_email.smtp.maildata import MailData

_GENERATED: Final = frozenset({"date", "message-id"})
_NOT_CONTENT: Final = frozenset({"_connection", "connection", "sent_using", "smtp_report"})
"""Attributes that a backend leaves on a message, or that choose the backend."""


class _Identity(NamedTuple):
    state: Mapping[str, object]
    headers: Mapping[str, str]


_kept: weakref.WeakKeyDictionary[EmailMessage, _Identity] = weakref.WeakKeyDictionary()


def keep_identity(message: EmailMessage, data: MailData) -> None:
    """Remember under which Message-ID and Date the message was tried, for the next ``with_kept_identity``.

    To be called when an attempt was deferred, ended in doubt, or found no session; never when a server accepted.
    """
    headers = {
        name.decode("ascii"): value.decode("ascii", "replace")
        for name, value in header_fields(data.content)
        if name.lower().decode("ascii") in _GENERATED
    }
    try:
        _kept[message] = _Identity(_state(message), headers)
    except TypeError:
        return  # a subclass without a hash; it is treated as Django treats it


def with_kept_identity(message: EmailMessage) -> EmailMessage:
    """Return the message, or a shallow copy with the Message-ID and the Date of its earlier attempt."""
    try:
        identity = _kept.pop(message, None)
    except TypeError:
        return message
    if identity is None or identity.state != _state(message):
        return message
    headers = {name: value for name, value in identity.headers.items() if not has_header(message, name.lower())}
    return with_first_headers(message, headers)


def _state(message: EmailMessage) -> dict[str, object]:
    return {name: _frozen(value) for name, value in vars(message).items() if name not in _NOT_CONTENT}


def _frozen(value: object) -> object:
    """Copy what an application changes in place, so that the change is seen."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return tuple(value.items())
    return value

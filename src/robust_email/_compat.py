"""What differs between Django 5.2, 6.0 and 6.1. No other file asks for Django's version.

From 6.0 an e-mail's MIME tree is made by Python's modern e-mail API under a policy that the backend chooses; 5.2 makes
it with the legacy API, without a policy, and leaves the line ends to ``as_bytes()``.
"""

from __future__ import annotations

import email.message
import email.policy
from typing import TYPE_CHECKING, Any, Final

import django

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.mail import EmailMessage

MODERN_EMAIL_API: Final = django.VERSION >= (6, 0)
"""Whether ``EmailMessage.message()`` takes a policy (Django >= 6.0)."""


def mime_tree(message: EmailMessage, policy: email.policy.EmailPolicy[Any]) -> email.message.Message:
    """Call ``message.message()`` as the running Django's SMTP backend does; applications override it.

    ``policy`` stands for ``email.policy.SMTP`` and writes the same bytes. 5.2 has no use for it.
    """
    if MODERN_EMAIL_API:
        return message.message(policy=policy)
    return message.message()


def stock_bytes(tree: email.message.Message) -> bytes:
    """Serialise as the running Django's SMTP backend does."""
    as_bytes: Callable[..., bytes] = tree.as_bytes
    return as_bytes() if MODERN_EMAIL_API else as_bytes(linesep="\r\n")


def has_stock_as_bytes(tree: email.message.Message) -> bool:
    """Tell whether ``stock_bytes()`` runs the code that comes with Django or Python, not an application's own."""
    return getattr(tree.as_bytes, "__func__", None) is _stock_as_bytes()


def line_separator() -> str | None:
    """Return what the running Django passes as ``linesep``: None where the tree's policy decides."""
    return None if MODERN_EMAIL_API else "\r\n"


def _stock_as_bytes() -> Callable[..., Any]:
    if MODERN_EMAIL_API:
        return email.message.Message.as_bytes
    from django.core.mail.message import MIMEMixin  # deprecated from 6.0, hence not at the top

    return MIMEMixin.as_bytes

"""What differs between Django 5.2, 6.0 and 6.1. No other file asks for Django's version.

From 6.0 an e-mail's MIME tree is made by Python's modern e-mail API under a policy that the backend chooses; 5.2 makes
it with the legacy API, without a policy, and leaves the line ends to ``as_bytes()``.

From 6.1 a backend may be one of several ``MAILERS``, known by its alias and configured by ``OPTIONS`` alone; without
``MAILERS`` the ``EMAIL_*`` settings still count, and whoever builds a backend by hand is told that this will end.
"""

from __future__ import annotations

import email.message
import email.policy
from typing import TYPE_CHECKING, Any, Final

import django
from django.core import mail
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.core.mail import EmailMessage
    from django.core.mail.backends.base import BaseEmailBackend

MODERN_EMAIL_API: Final = django.VERSION >= (6, 0)
"""Whether ``EmailMessage.message()`` takes a policy (Django >= 6.0)."""

HAS_MAILERS: Final = django.VERSION >= (6, 1)
"""Whether backends take an ``alias`` and there is ``django.core.mail.mailers`` (Django >= 6.1)."""


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


def configuration_error(text: str, alias: str | None) -> ImproperlyConfigured:
    """Return the error for a mistake in the settings, with the alias of the mailer where there is one."""
    if alias is None:
        return ImproperlyConfigured(text)
    if HAS_MAILERS:
        invalid: Callable[..., ImproperlyConfigured] = mail.InvalidMailer
        return invalid(text, alias=alias)
    return ImproperlyConfigured(f"{alias!r}: {text}")


def alias_argument(alias: str | None) -> dict[str, Any]:
    """Return what to pass up to Django's backend: from 6.1 the alias, also where it is None, lest it warn."""
    return {"alias": alias} if HAS_MAILERS else {}


def default_mailer() -> BaseEmailBackend:
    """Build the project's default backend, without the deprecation warning that ``get_connection()`` has from 6.1."""
    mailer: BaseEmailBackend = mail.mailers.default if HAS_MAILERS else mail.get_connection()
    return mailer


def mailer_aliases() -> Iterator[str | None]:
    """Yield the alias of each mailer of the project: ``MAILERS`` if defined, else None for the ``EMAIL_*`` settings."""
    if HAS_MAILERS and (aliases := [str(alias) for alias in mail.mailers]):
        yield from aliases
    else:
        yield None


def build_mailer(alias: str | None) -> BaseEmailBackend:
    """Build the backend behind one of ``mailer_aliases()``; errors are Django's, or the backend's own."""
    if alias is None:
        return default_mailer()
    mailer: BaseEmailBackend = mail.mailers[alias]
    return mailer


def warn_if_built_by_hand(backend: object) -> None:
    """Give Django 6.1's warning to an application that builds an SMTP backend itself; to be called by ``__init__``.

    Django's own class looks one frame up, and so blames every subclass with an ``__init__`` for calling
    ``super().__init__()``. Here those frames are passed over: only what called the outermost constructor counts.
    """
    if not HAS_MAILERS:
        return
    from django.utils import deprecation

    constructors = tuple(f"{each.__module__}.{each.__qualname__}.__init__" for each in type(backend).__mro__)
    deprecation.warn_about_external_use(
        "Directly creating EmailBackend instances is deprecated. Use mail.mailers instead.",
        deprecation.RemovedInDjango70Warning,  # 6.1's other name for RemovedInDjango2028Warning
        skip_name_prefixes=constructors,
    )

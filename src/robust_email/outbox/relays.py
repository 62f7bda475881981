"""Which relay a mail leaves through: from what a caller said to a reference in the row, and from there to a backend.

==================  ===========================================================  ====================================
in the row          said by                                                      becomes at the hand-over
==================  ===========================================================  ====================================
``default``         nothing                                                      ``EMAIL_OUTBOX_BACKEND``
``mailer:ALIAS``    ``OPTIONS["using"]``                                         that mailer (Django 6.1)
``ref:REFERENCE``   ``relay=``                                                   what ``EMAIL_OUTBOX_RELAY_RESOLVER``
                                                                                 returns for it
``sealed:DIGEST``   ``host=``, ``password=`` and the like, given to the backend  ``EMAIL_OUTBOX_BACKEND`` with these
==================  ===========================================================  ====================================

A mail never leaves through another relay than its own: what can't be kept is an error at the enqueue, what can't be
resolved makes the mail wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string

from robust_email import _compat
from robust_email.outbox import sealing
from robust_email.outbox.conf import names_a_backend, outbox_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT: Final = "default"
MAILER: Final = "mailer:"
REFERENCE: Final = "ref:"
SEALED: Final = "sealed:"
LONGEST: Final = 255
"""Characters of the column."""


@dataclass(frozen=True, slots=True)
class Relay:
    """What stands in the row."""

    name: str
    sealed: str = ""

    def __post_init__(self) -> None:
        """Fit the column."""
        if len(self.name) > LONGEST:
            raise ValueError(f"A relay reference has at most {LONGEST - len(REFERENCE)} characters.")


def relay_of(*, using: str | None = None, reference: str = "", options: Mapping[str, object] | None = None) -> Relay:
    """Return what to keep with a mail.

    Raises:
        ImproperlyConfigured: it cannot be kept, or could not be resolved again.
    """
    if options:
        if using or reference:
            raise ImproperlyConfigured("Give a relay by name or by its options, not both.")
        digest, sealed = sealing.seal(options)
        return Relay(SEALED + digest, sealed)
    if reference.startswith(MAILER):
        using, reference = reference.removeprefix(MAILER), ""
    if reference:
        if outbox_settings().relay_resolver is None:
            raise ImproperlyConfigured("relay= needs EMAIL_OUTBOX_RELAY_RESOLVER, which finds the relay again later.")
        return Relay(REFERENCE + reference)
    if using:
        if not _compat.HAS_MAILERS:
            raise ImproperlyConfigured("Mailers with an alias need Django 6.1; set EMAIL_OUTBOX_BACKEND instead.")
        return Relay(MAILER + using)
    return Relay(DEFAULT)


def project_relay() -> Relay:
    """Return the relay for mail about which nothing was said: that of the project's default mailer."""
    if next(_compat.mailer_aliases()) is None or names_a_backend():
        return Relay(DEFAULT)
    backend = _compat.default_mailer()
    behind: Relay | None = getattr(backend, "relay", None) if enters_outbox(backend) else None
    return behind or Relay(MAILER + "default")


def backend_for(relay: Relay) -> BaseEmailBackend:
    """Build the backend that hands over the mail of a relay. The network is not asked.

    Raises:
        ImproperlyConfigured: whatever went wrong; a person has to act.
    """
    try:
        backend = _build(relay)
    except ImproperlyConfigured:
        raise
    except Exception as exc:
        raise ImproperlyConfigured(f"The relay {relay.name} cannot be built: {type(exc).__name__}: {exc}") from exc
    if enters_outbox(backend):
        raise ImproperlyConfigured(
            f"The outbox's relay {relay.name} leads back into the outbox: mail would go round for ever. Let 'using' "
            "(or EMAIL_OUTBOX_BACKEND) name a backend that hands mail over."
        )
    return backend


def enters_outbox(backend: object) -> bool:
    """Tell whether a backend writes into the outbox instead of handing over."""
    return bool(getattr(type(backend), "enters_outbox", False))


def _build(relay: Relay) -> BaseEmailBackend:
    if relay.name.startswith(MAILER):
        return _compat.build_mailer(relay.name.removeprefix(MAILER))
    if relay.name.startswith(REFERENCE):
        return _resolve(relay.name.removeprefix(REFERENCE))
    options: dict[str, Any] = sealing.unseal(relay.sealed) if relay.name.startswith(SEALED) else {}
    backend_class = import_string(outbox_settings().backend)
    if enters_outbox_class(backend_class):
        raise ImproperlyConfigured("EMAIL_OUTBOX_BACKEND leads back into the outbox: mail would go round for ever.")
    backend: BaseEmailBackend = backend_class(**options, **_compat.alias_argument(None))
    return backend


def enters_outbox_class(backend_class: object) -> bool:
    """As ``enters_outbox``, for a class."""
    return bool(getattr(backend_class, "enters_outbox", False))


def _resolve(reference: str) -> BaseEmailBackend:
    path = outbox_settings().relay_resolver
    if path is None:
        raise ImproperlyConfigured("EMAIL_OUTBOX_RELAY_RESOLVER is not set any more, and mail waits for it.")
    backend = import_string(path)(reference)
    if not isinstance(backend, BaseEmailBackend):
        raise ImproperlyConfigured(f"{path} returned {type(backend).__name__} and not an e-mail backend.")
    return backend

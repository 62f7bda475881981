"""A relay's options as a text that only this project can read: Fernet (AES-128-CBC and HMAC) from ``cryptography``.

The keys are ``EMAIL_OUTBOX_SECRET_KEYS``; the first encrypts and all decrypt, so that a key can be changed while mail
is waiting. The only file that imports ``cryptography``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from robust_email.outbox.conf import outbox_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.fernet import MultiFernet

_ADVICE = (
    "name the relay instead (using=ALIAS, or relay=REFERENCE with EMAIL_OUTBOX_RELAY_RESOLVER), or set "
    "EMAIL_OUTBOX_SECRET_KEYS to a list of keys made by cryptography.fernet.Fernet.generate_key()."
)


def seal(options: Mapping[str, object]) -> tuple[str, str]:
    """Return a digest that is the same for the same options, and the sealed text.

    Raises:
        ImproperlyConfigured: there is no key, or an option is no plain value.
    """
    keys = outbox_settings().secret_keys
    if not keys:
        raise ImproperlyConfigured(
            "This mail has a relay of its own (host or credentials), which may not stand in the outbox unencrypted: "
            + _ADVICE
        )
    try:
        plain = json.dumps(dict(options), sort_keys=True, separators=(",", ":")).encode()
    except TypeError as exc:
        raise ImproperlyConfigured("An option of this mail's relay is no plain value, and cannot be kept.") from exc
    digest = hmac.new(keys[0].encode(), plain, hashlib.sha256).hexdigest()[:24]
    return digest, _fernet().encrypt(plain).decode()


def unseal(sealed: str) -> dict[str, Any]:
    """Return the options.

    Raises:
        ImproperlyConfigured: none of the keys fits.
    """
    fernet = _fernet()
    from cryptography.fernet import InvalidToken

    try:
        options: dict[str, Any] = json.loads(fernet.decrypt(sealed.encode()))
    except InvalidToken as exc:
        raise ImproperlyConfigured(
            "None of EMAIL_OUTBOX_SECRET_KEYS opens this mail's relay; keep old keys in the list until all is accepted."
        ) from exc
    return options


def _fernet() -> MultiFernet:
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError as exc:
        raise ImproperlyConfigured(
            "EMAIL_OUTBOX_SECRET_KEYS needs cryptography: pip install 'django-robust-email[sealing]'."
        ) from exc
    try:
        return MultiFernet([Fernet(key) for key in outbox_settings().secret_keys])
    except ValueError as exc:
        raise ImproperlyConfigured(f"EMAIL_OUTBOX_SECRET_KEYS: {exc}") from exc

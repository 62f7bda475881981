"""DKIM signatures (RFC 6376) by ``dkimpy``: ``EMAIL_DKIM_DOMAIN``, ``_SELECTOR`` and ``_KEY_FILE``.

The engine calls the signer for each hand-over, after everything else, so that what is signed is what the server gets.
It hands over 7-bit text for that (section 5.3): what comes later on the way then has no reason to re-encode.

Most providers sign for you, with keys that they change; sign yourself where the relay is your own. The only file that
imports ``dkim``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robust_email.smtp import SigningFailed

if TYPE_CHECKING:
    from dkim import DKIM

_ONLY_ONCE: Final = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"reply-to",
    b"date",
    b"message-id",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
"""Signed once more than they are there, so that nobody can add another that readers would show (section 8.15)."""
_ALSO: Final = (
    b"sender",
    b"in-reply-to",
    b"references",
    b"auto-submitted",
    b"list-id",
    b"list-help",
    b"list-unsubscribe",
    b"list-unsubscribe-post",  # RFC 8058 4: one-click needs both covered
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
)


@dataclass(frozen=True, slots=True)
class DkimSigner:
    """Signs for ``domain`` with the RSA key in a PEM file. A replaced key file is used from the next mail on."""

    domain: str
    selector: str
    key_file: str

    def sign(self, content: bytes) -> bytes:
        """Return the ``DKIM-Signature`` field. Raises ``SigningFailed``: no dkimpy, or a key that cannot be used."""
        try:
            import dkim
        except ImportError as exc:
            text = "EMAIL_DKIM_DOMAIN needs dkimpy: pip install 'django-robust-email[dkim]'"
            raise SigningFailed(text) from exc
        signer = dkim.DKIM(content)
        try:
            field: bytes = signer.sign(
                self.selector.encode("idna"),
                self.domain.encode("idna"),
                self._key(),
                canonicalize=(b"relaxed", b"relaxed"),
                include_headers=_fields_to_sign(signer),
            )
        except OSError as exc:
            raise SigningFailed(f"EMAIL_DKIM_KEY_FILE cannot be read: {exc.strerror}") from exc
        except (dkim.DKIMException, UnicodeError) as exc:
            raise SigningFailed(f"dkimpy refuses the key, the selector or the message: {exc}") from exc
        return field

    def _key(self) -> bytes:
        status = Path(self.key_file).stat()
        return _read(self.key_file, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=32)
def _read(path: str, version: object) -> bytes:  # noqa: ARG001 - it makes the cache notice a new file
    return Path(path).read_bytes()


def _fields_to_sign(signer: DKIM) -> list[bytes]:
    present = [name.lower() for name, _ in signer.headers]
    return [name for name in present if name in {*_ONLY_ONCE, *_ALSO}] + list(_ONLY_ONCE)

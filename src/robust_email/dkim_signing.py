"""DKIM signatures (RFC 6376, RFC 8463) by ``dkimpy``: ``EMAIL_DKIM_DOMAIN``, ``_SELECTOR`` and ``_KEY_FILE``.

The engine calls the signer for each hand-over, after everything else, so that what is signed is what the server gets.
It hands over 7-bit text for that (section 5.3): what comes later on the way then has no reason to re-encode.

Most providers sign for you, with keys that they change; sign yourself where the relay is your own. The only file that
imports ``dkim``.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robust_email.smtp import SigningFailed

if TYPE_CHECKING:
    from types import ModuleType

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


_SEED: Final = 32
"""Octets of an Ed25519 key (RFC 8032 5.1.5)."""
_ARMOUR: Final = re.compile(rb"-----BEGIN PRIVATE KEY-----\s(.*)\s-----END PRIVATE KEY-----", re.DOTALL)
_ED25519: Final = re.compile(rb"\x30.\x02\x01[\x00\x01]\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20(.{32})", re.DOTALL)
"""PKCS #8 of one (RFC 8410 7), which dkimpy does not read."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A private key and where its public half stands in DNS: ``selector``._domainkey.DOMAIN.

    The file holds RSA or Ed25519 in PEM, or Ed25519 as ``dknewkey`` writes it: 32 octets in base64. A replaced file is
    used from the next mail on.
    """

    selector: str
    file: str

    def check(self) -> None:
        """Raise ``SigningFailed`` for what is no key. A file that is not there yet, or no dkimpy, is no error here."""
        try:
            self.read()
        except SigningFailed as exc:
            if not isinstance(exc.__cause__, (OSError, ImportError)):
                raise

    def read(self) -> tuple[bytes, bytes]:
        """Return the algorithm (RFC 6376 3.3, RFC 8463 3) and the key as dkimpy wants it. Raises ``SigningFailed``."""
        try:
            status = Path(self.file).stat()
            return _read(self.file, (status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError as exc:
            raise SigningFailed(f"EMAIL_DKIM_KEY_FILE cannot be read: {exc.strerror}") from exc


@dataclass(frozen=True, slots=True)
class DkimSigner:
    """Signs for ``domain`` with each of the keys: with an RSA and an Ed25519 key every verifier finds one it knows."""

    domain: str
    keys: tuple[DkimKey, ...]

    def sign(self, content: bytes) -> bytes:
        """Return a ``DKIM-Signature`` field for each key.

        Raises ``SigningFailed``: no dkimpy, no PyNaCl for an Ed25519 key, or a key that cannot be used.
        """
        return b"".join(self._signature(key, content) for key in self.keys)

    def _signature(self, key: DkimKey, content: bytes) -> bytes:
        dkim = _dkim()
        algorithm, private = key.read()
        signer = dkim.DKIM(content, signature_algorithm=algorithm)
        try:
            field: bytes = signer.sign(
                key.selector.encode("idna"),
                self.domain.encode("idna"),
                private,
                canonicalize=(b"relaxed", b"relaxed"),
                include_headers=_fields_to_sign(signer),
            )
        except dkim.NaClNotFoundError as exc:
            text = f"the Ed25519 key of {key.selector} needs PyNaCl: pip install 'django-robust-email[ed25519]'"
            raise SigningFailed(text) from exc
        except (dkim.DKIMException, UnicodeError) as exc:
            raise SigningFailed(f"dkimpy refuses the key, the selector or the message: {exc}") from exc
        return field


def _dkim() -> ModuleType:
    try:
        import dkim
    except ImportError as exc:
        raise SigningFailed("EMAIL_DKIM_DOMAIN needs dkimpy: pip install 'django-robust-email[dkim]'") from exc
    return dkim  # type: ignore[no-any-return]  # it has no types of its own


@lru_cache(maxsize=32)
def _read(path: str, version: object) -> tuple[bytes, bytes]:  # noqa: ARG001 - it makes the cache notice a new file
    _dkim()
    from dkim.crypto import UnparsableKeyError, parse_pem_private_key

    content = Path(path).read_bytes()
    seed = _ed25519_seed(content)
    if seed is not None:
        return b"ed25519-sha256", base64.b64encode(seed)
    try:
        parse_pem_private_key(content)
    except UnparsableKeyError as exc:
        raise SigningFailed(f"EMAIL_DKIM_KEY_FILE {path} holds no RSA or Ed25519 key: {exc}") from exc
    return b"rsa-sha256", content


def _ed25519_seed(content: bytes) -> bytes | None:
    armour = _ARMOUR.fullmatch(content.strip())
    try:
        octets = base64.b64decode(b"".join((armour[1] if armour else content).split()), validate=True)
    except binascii.Error:
        return None
    if armour is None:
        return octets if len(octets) == _SEED else None
    found = _ED25519.match(octets)
    return found[1] if found else None


def _fields_to_sign(signer: DKIM) -> list[bytes]:
    present = [name.lower() for name, _ in signer.headers]
    return [name for name in present if name in {*_ONLY_ONCE, *_ALSO}] + list(_ONLY_ONCE)

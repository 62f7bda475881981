"""The ``SSLContext`` of a TLS policy: one for all sessions that share it, since building one costs 38 ms of CPU.

Always verified, against the configured host, in the names that a certificate carries for this purpose (RFC 7817 3,
RFC 9525): a name in the subject's CN alone is not one.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from robust_email.smtp.failure import Failure, FailureKind, SessionFailure
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from robust_email.smtp.config import TlsPolicy

_Files = tuple[str | None, str | None, str | None]
_Versions = tuple[tuple[int, int, int] | None, ...]
_MAX_CONTEXTS = 256
"""Policies remembered; a process with more of them than this builds some again."""

# Without a lock: two threads that build the same context at once lose 38 ms, a lock held over a fork loses the child.
_contexts: dict[_Files, tuple[_Versions, ssl.SSLContext]] = {}


def context_for(policy: TlsPolicy) -> ssl.SSLContext:
    """Return the context for a policy's files, built again when one of them has changed on disk.

    Raises:
        SessionFailure: a file cannot be read or holds nothing usable (kind ``LOCAL``, phase ``TLS``).
    """
    files = (policy.cafile, policy.certfile, policy.keyfile)
    versions = tuple(_version_of(path) for path in files)
    known = _contexts.get(files)
    if known is not None and known[0] == versions:
        return known[1]
    context = new_tls_context(policy)
    if len(_contexts) >= _MAX_CONTEXTS:
        _contexts.clear()
    _contexts[files] = versions, context
    return context


def _version_of(path: str | None) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or rewritten, as a rotated certificate is."""
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None  # building the context meets the same error, and can say it in words
    return found.st_mtime_ns, found.st_size, found.st_ino


def new_tls_context(policy: TlsPolicy) -> ssl.SSLContext:
    """Build a context that nobody shares, for a caller who means to change it. Raises as ``context_for``."""
    try:
        context = ssl.create_default_context(cafile=policy.cafile)
    except (OSError, ValueError) as error:
        raise _unusable("EMAIL_SSL_CAFILE", policy.cafile, error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if policy.certfile is not None:
        try:
            context.load_cert_chain(policy.certfile, policy.keyfile, password=_no_passphrase)
        except (OSError, ValueError) as error:
            files = " and ".join(filter(None, (policy.certfile, policy.keyfile)))
            raise _unusable("EMAIL_SSL_CERTFILE and EMAIL_SSL_KEYFILE", files, error) from error
    return context


def _unusable(setting: str, path: str | None, error: OSError | ValueError) -> SessionFailure:
    number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    reason = os.strerror(number) if number is not None else _pem_words(error)
    return SessionFailure(Failure(FailureKind.LOCAL, Phase.TLS, f"{setting}: {path} cannot be used: {reason}", number))


def _no_passphrase() -> str:
    """Answer OpenSSL, which would otherwise ask on the terminal of whoever runs the worker, and wait there."""
    raise ValueError("the key is encrypted; store it without a passphrase, readable by this service alone")


def _pem_words(error: OSError | ValueError) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error)
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return f"it holds no usable PEM data ({reason or error})"

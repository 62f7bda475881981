"""One canonical form of an address, and the digest that is looked for.

A local part is compared without case: RFC 5321 2.4 lets a host tell ``Ann`` from ``ann``, none of any size does, and
reports often come back in lower case. Dots and ``+tag`` stay: who ignores them is the receiver's business.
"""

from __future__ import annotations

import hashlib
import unicodedata

from robust_email.smtp.address import parse_mailbox


def canonical(address: str) -> str:
    """Return the form that all spellings of one address share. Raises ``InvalidAddress``."""
    mailbox = parse_mailbox(address)
    local_part = unicodedata.normalize("NFC", mailbox.local_part).lower()
    return f"{local_part}@{mailbox.ascii_domain.lower()}" if mailbox.domain else local_part


def digest_of(address: str) -> str:
    """Return the SHA-256 of the canonical form, in hexadecimal: it outlives the address and any rotated key.

    Raises ``InvalidAddress``.
    """
    return hashlib.sha256(canonical(address).encode()).hexdigest()

"""Return paths that name one recipient and cannot be made by others (VERP, with a MAC).

A report that comes to ``bounces+TOKEN@shop.example`` is about a mail that we wrote to the recipient that the token
names, lately: only the servers on that mail's way have seen it. A token is 20 octets in base32, as it must survive
servers that change case: the day (2), the front of the recipient's digest (8), and of an HMAC-SHA-256 over both (10).
"""

from __future__ import annotations

import base64
import re
import time
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import constant_time_compare, salted_hmac

from robust_email.smtp.address import MAX_LOCAL_PART, InvalidAddress, parse_mailbox
from robust_email.suppression.addresses import digest_of
from robust_email.suppression.conf import secret_keys, suppression_settings
from robust_email.suppression.policy import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_SALT: Final = "robust_email.suppression.tokens"
_DAY_OCTETS, _DIGEST_OCTETS, _MAC_OCTETS = 2, 8, 10
_TOKEN: Final = re.compile(r"[A-Za-z2-7]{32}")


def bounce_address(recipient: str, *, clock: Callable[[], float] = time.time) -> str:
    """Return the return path for mail to this recipient; errors as ``suppression.bounce_address``."""
    mailbox = parse_mailbox(_return_path())
    signed = int(clock() // DAY).to_bytes(_DAY_OCTETS) + bytes.fromhex(digest_of(recipient))[:_DIGEST_OCTETS]
    token = base64.b32encode(signed + _mac(signed, secret_keys()[0])).decode().lower()
    local_part = f"{mailbox.local_part}+{token}"
    if len(local_part.encode()) > MAX_LOCAL_PART:
        raise ImproperlyConfigured("EMAIL_SUPPRESSION_RETURN_PATH must have at most 31 octets before the @.")
    return f"{local_part}@{mailbox.domain}"


def named_digests(addresses: Iterable[str], *, clock: Callable[[], float] = time.time) -> frozenset[str]:
    """Return the fronts of the digests (16 hexadecimal digits) that genuine tokens in these addresses name."""
    return frozenset(found for address in addresses for found in _named(address, clock()))


def is_named(digest: str, fronts: frozenset[str]) -> bool:
    """Tell whether a token names the recipient with this digest."""
    return digest[: 2 * _DIGEST_OCTETS] in fronts


def _return_path() -> str:
    path = suppression_settings().return_path
    if path is None:
        raise ImproperlyConfigured("EMAIL_SUPPRESSION_RETURN_PATH must be the mailbox that bounces go to.")
    try:
        if not parse_mailbox(path).domain:
            raise ImproperlyConfigured("EMAIL_SUPPRESSION_RETURN_PATH must have a domain.")
    except InvalidAddress as exc:
        raise ImproperlyConfigured(f"EMAIL_SUPPRESSION_RETURN_PATH must be an address: {exc}") from exc
    return path


def _named(address: str, now: float) -> Iterator[str]:
    text = address.rpartition("@")[0].rpartition("+")[2]
    if not _TOKEN.fullmatch(text):
        return
    token = base64.b32decode(text.upper())  # 32 characters are 20 octets without padding
    signed, mac = token[:-_MAC_OCTETS], token[-_MAC_OCTETS:]
    if not any(constant_time_compare(mac, _mac(signed, key)) for key in secret_keys()):
        return
    age = now // DAY - int.from_bytes(signed[:_DAY_OCTETS])
    if -1 <= age <= suppression_settings().token_age:
        yield signed[_DAY_OCTETS:].hex()


def _mac(signed: bytes, key: str) -> bytes:
    return salted_hmac(_SALT, signed, secret=key, algorithm="sha256").digest()[:_MAC_OCTETS]

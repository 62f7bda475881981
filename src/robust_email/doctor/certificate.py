"""What people want to know of a certificate, read from its DER (RFC 5280 4.1, X.690): names, issuer, days left.

The standard library shows a certificate only after it has passed verification, and the doctor is asked about those that
do not. Nothing is decided here; OpenSSL decides.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robust_email.smtp.protocol.replies import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEQUENCE, _SET, _OID, _OCTETS = 0x30, 0x31, 0x06, 0x04
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_COMMON_NAME, _ORGANISATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
_ALTERNATIVE_NAMES: Final = bytes.fromhex("551d11")
_LONG_FORM: Final = 0x80
_MOST_LENGTH_OCTETS: Final = 3
_UTC_TIME_LENGTH: Final = 13

_Element = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Certificate:
    """``names`` are the hosts it is for; times are UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    self_issued: bool

    def days_left(self, now: dt.datetime) -> int:
        """Whole days until it expires; negative once it has."""
        return (self.not_after - now).days

    def describe(self, now: dt.datetime) -> str:
        """One line for people."""
        shown = ", ".join(self.names[:4]) + (", …" if len(self.names) > 4 else "")  # noqa: PLR2004 - a line's worth
        issuer = "itself" if self.self_issued else self.issuer or "an unnamed authority"
        days = self.days_left(now)
        ending = f"{days} days left" if days >= 0 else f"expired {-days} days ago"
        return (
            f"certificate for {shown or f'no host (subject {self.subject})'}, issued by {issuer}, "
            f"valid {self.not_before:%Y-%m-%d} to {self.not_after:%Y-%m-%d} ({ending})"
        )


def read_certificate(der: bytes) -> Certificate:
    """Read one certificate. Raises ``ValueError``: it is none."""
    try:
        return _read(der)
    except (IndexError, StopIteration) as exc:
        raise ValueError("not a certificate") from exc


def _read(der: bytes) -> Certificate:
    _, certificate, _ = _element(der, 0)
    _, signed, _ = _element(certificate, 0)
    fields = list(_elements(signed))
    if fields[0][0] == _VERSION:
        del fields[0]
    _serial, _algorithm, issuer, validity, subject = (content for _, content in fields[:5])
    not_before, not_after = (_time(*each) for each in list(_elements(validity))[:2])
    extensions = next((content for tag, content in fields[5:] if tag == _EXTENSIONS), b"")
    return Certificate(
        subject=_common_name(subject),
        issuer=_common_name(issuer),
        names=tuple(_alternative_names(extensions)),
        not_before=not_before,
        not_after=not_after,
        self_issued=subject == issuer,
    )


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag and content of the element at an offset, and the offset behind it."""
    tag, length = data[at], data[at + 1]
    at += 2
    if length & _LONG_FORM:
        count = length & ~_LONG_FORM
        if not 0 < count <= _MOST_LENGTH_OCTETS:
            raise ValueError("a length that no certificate has")
        length = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + length > len(data):
        raise ValueError("the data ends inside an element")
    return tag, data[at : at + length], at + length


def _elements(data: bytes) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        tag, content, at = _element(data, at)
        yield tag, content


def _time(tag: int, content: bytes) -> dt.datetime:
    text = content.decode("ascii", "replace")
    if tag == _UTC_TIME and len(text) == _UTC_TIME_LENGTH:
        text = ("19" if text[:2] >= "50" else "20") + text  # RFC 5280 4.1.2.5.1
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)


def _common_name(name: bytes) -> str:
    """The CN of a distinguished name, or its O, or whatever it has."""
    parts = {}
    for _, relative in _elements(name):
        for _, pair in _elements(relative):
            (_, kind), (_, value), *_ = _elements(pair)
            parts[kind] = value
    chosen = parts.get(_COMMON_NAME) or parts.get(_ORGANISATION) or next(iter(parts.values()), b"")
    return printable(chosen, 80)


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for _, listed in _elements(extensions):
        for _, extension in _elements(listed):
            parts = list(_elements(extension))
            if parts and parts[0] == (_OID, _ALTERNATIVE_NAMES):
                _, names, _ = _element(parts[-1][1], 0)
                yield from _general_names(names)


def _general_names(names: bytes) -> Iterator[str]:
    for tag, value in _elements(names):
        if tag == _DNS_NAME:
            yield printable(value, 80)
        elif tag == _IP_ADDRESS:
            yield str(ipaddress.ip_address(value))

"""What an inbound mail reports: a pure function from octets, which come from anybody, to a ``Report``.

Known are delivery status notifications (RFC 3464, and RFC 6533 with addresses beyond ASCII, RFC 5337 before it) and
complaints (RFC 5965). All else is automatic mail (RFC 3834) or mail from people, and is nothing to act upon. Nothing
here believes a report: that is for ``services``, which knows our mails.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from robust_email.suppression.mime import Fields, Part, blocks, read_fields, read_part, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_OCTETS: Final = 4 * 1024 * 1024
"""Of one mail that are looked at; a report is at the front."""
MAX_RECIPIENTS: Final = 1_000
"""Of one report."""

_STATUS_TYPES: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RETURNED_TYPES: Final = frozenset(
    {"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers", "message/rfc822-headers"}
)
_FEEDBACK_TYPE: Final = "message/feedback-report"
_ACTIONS: Final = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
_COMPLAINTS: Final = frozenset({"abuse", "fraud", "opt-out", "opt-out-list"})
_STATUS: Final = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?![.\d])", re.ASCII)
_SMTP_DIAGNOSTIC: Final = re.compile(
    r"\s*smtp\s*;\s*(?:\d{3}[ -]\s*)?([245]\.\d{1,3}\.\d{1,3})(?![.\d])", re.IGNORECASE | re.ASCII
)
_MESSAGE_ID: Final = re.compile(r"<[^<>\s\x00-\x1f\x7f]{1,253}>")  # no database knows one with a NUL
_BETWEEN_ADDRESSES: Final = re.compile(r"[\s<>,;:()]+")
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_MAILING: Final = frozenset({"bulk", "junk", "list", "auto_reply"})


class ReportKind(enum.Enum):
    """What a mail is."""

    DELIVERY_STATUS = "delivery-status"
    COMPLAINT = "complaint"
    MALFORMED = "malformed"
    """It calls itself a report, and says nothing about any recipient."""
    AUTOMATIC = "automatic"
    """Nobody wrote it: an absence note, a list's mail."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What a report says about one recipient."""

    addresses: tuple[str, ...] = field(repr=False)
    """The address as we gave it (Original-Recipient), then as the last server knew it; neither is checked."""
    action: str = "failed"
    """``failed``, ``delayed``, ``delivered``, ``relayed`` or ``expanded`` (RFC 3464 2.3.3)."""
    status: str = ""
    """The enhanced status code, or empty."""


@dataclass(frozen=True, slots=True)
class Report:
    """One mail, read. ``message_ids`` are those of the mail it is about; ``addressed_to`` is whom it was sent to."""

    kind: ReportKind
    recipients: tuple[RecipientStatus, ...] = ()
    message_ids: tuple[str, ...] = ()
    addressed_to: tuple[str, ...] = field(default=(), repr=False)


def read_report(raw: bytes) -> Report:
    """Read one mail. Raises nothing, whatever the octets."""
    mail = read_part(raw[:MAX_OCTETS])
    parts = list(walk(mail))
    to = tuple(_addressed_to(mail))
    message_ids = _returned_message_ids(parts)
    for part in parts:
        if part.content_type in _STATUS_TYPES:
            recipients = tuple(islice(_statuses(part), MAX_RECIPIENTS))
            kind = ReportKind.DELIVERY_STATUS if recipients else ReportKind.MALFORMED
            return Report(kind, recipients, message_ids, to)
        if part.content_type == _FEEDBACK_TYPE:
            return _complaint(read_fields(part.content), message_ids, to)
    if mail.content_type == "multipart/report" and mail.parameter("report-type").lower() != "disposition-notification":
        return Report(ReportKind.MALFORMED, (), message_ids, to)
    return Report(ReportKind.AUTOMATIC if _is_automatic(mail) else ReportKind.OTHER, (), (), to)


def _statuses(part: Part) -> Iterator[RecipientStatus]:
    """Read the groups about recipients. One that names none, or no action that is known, is passed over."""
    for fields in blocks(part.content):
        addresses = tuple(
            address
            for name in ("original-recipient", "final-recipient")
            for value in fields.get(name, [])[:1]
            if (address := _typed_address(value))
        )
        action = _first(fields, "action").partition("(")[0].strip().lower()
        if addresses and action in _ACTIONS:
            yield RecipientStatus(addresses, action, _status(fields))


def _status(fields: Fields) -> str:
    """Return the code of Status; where that only says "failed" (5.0.0), the server's own of Diagnostic-Code."""
    found = _STATUS.match(_first(fields, "status"))
    if found is None:
        return ""
    klass, *rest = found[1].split(".")
    exact = _SMTP_DIAGNOSTIC.match(_first(fields, "diagnostic-code"))
    if rest == ["0", "0"] and exact is not None and exact[1].startswith(klass):
        return exact[1]
    return found[1]


def _typed_address(value: str) -> str:
    """Return the address of ``rfc822; ann@example.net`` or ``utf-8; ...`` (RFC 3464 2.3.1, RFC 6533 3)."""
    kind, semicolon, address = value.partition(";")
    if not semicolon or kind.strip().lower() not in {"rfc822", "utf-8", "utf8"}:
        return ""
    address = address.strip().removeprefix("<").removesuffix(">")
    return _EMBEDDED.sub(_character, address) if kind.strip().lower() != "rfc822" else address


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else found[0]  # noqa: PLR2004 - Unicode's ends


def _complaint(fields: Fields, message_ids: tuple[str, ...], to: tuple[str, ...]) -> Report:
    """Read RFC 5965's fields. Many providers leave the recipient out; then the mail's own says who it was."""
    if _first(fields, "feedback-type").strip().lower() not in _COMPLAINTS:
        return Report(ReportKind.OTHER, (), message_ids, to)
    named = (address for value in fields.get("original-rcpt-to", []) for address in _addresses(value))
    recipients = tuple(RecipientStatus((address,), "complaint") for address in islice(named, MAX_RECIPIENTS))
    return Report(ReportKind.COMPLAINT, recipients, message_ids, to)


def _returned_message_ids(parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the Message-ID of the mail that is given back; what else is attached is not looked into."""
    for part in parts:
        if part.content_type in _RETURNED_TYPES:
            fields = read_fields(part.content.lstrip(b"\n").partition(b"\n\n")[0])
            return tuple(_MESSAGE_ID.findall(_first(fields, "message-id"))[:1])
    return ()


def _addressed_to(mail: Part) -> Iterator[str]:
    for name in ("delivered-to", "x-original-to", "to"):
        for value in mail.fields.get(name, [])[:4]:
            yield from islice(_addresses(value), 4)


def _addresses(value: str) -> Iterator[str]:
    """Yield what may be addresses: a pattern for one would look for its end from each letter of a long word."""
    return (word for word in _BETWEEN_ADDRESSES.split(value) if word.find("@") > 0 and not word.endswith("@"))


def _is_automatic(mail: Part) -> bool:
    """Tell whether a program wrote it (RFC 3834 5; Precedence and the rest are older habits)."""
    submitted = mail.first("auto-submitted").partition(";")[0].strip().lower()
    if submitted not in {"", "no"} or mail.first("precedence").strip().lower() in _MAILING:
        return True
    headers = {"x-autoreply", "x-autorespond", "x-auto-response-suppress", "list-id"}
    return mail.first("return-path").strip() == "<>" or bool(headers & mail.fields.keys())


def _first(fields: Fields, name: str) -> str:
    return fields.get(name, [""])[0]

"""The message as octets: what goes behind DATA or BDAT, checked once and never parsed and re-serialised again.

``MailData`` holds canonical octets by construction: CRLF line ends only, no NUL, no line beyond 998 octets. What is
stored in an outbox, what is submitted, and what is submitted again are these same octets.
"""

from __future__ import annotations

import binascii
import email.policy
import quopri
from dataclasses import dataclass
from email import message_from_bytes
from typing import TYPE_CHECKING, Final

from robust_email.smtp.headers import (
    HeaderInjection,
    check_headers,
    check_line_ends,
    header_block,
    header_fields,
    header_names,
)
from robust_email.smtp.lines import CRLF, MAX_LINE, canonicalize, is_canonical, longest_line, needs_8bit

if TYPE_CHECKING:
    from collections.abc import Collection
    from email.message import EmailMessage

__all__ = ["HeaderInjection", "MailData", "check_headers", "downgrade_7bit", "header_names"]

_KEEP_HEADERS: Final = email.policy.SMTP.clone(refold_source="none")
_BASE64_LINE: Final = 57  # octets that make a line of 76 (RFC 2045 6.8)


@dataclass(frozen=True, slots=True, repr=False)
class MailData:
    """One message, header block and body.

    Make it with ``from_bytes``, which repairs line ends; the constructor wants them right.

    Raises:
        ValueError: the content is not canonical, or a line is too long.
    """

    content: bytes

    def __post_init__(self) -> None:
        """Hold nothing that two servers could read as two different messages."""
        if not is_canonical(self.content):
            raise ValueError("Mail data needs CRLF line ends and no NUL: use MailData.from_bytes().")
        if (longest := longest_line(self.content)) > MAX_LINE:
            raise ValueError(
                f"The message has a line of {longest} octets, more than the {MAX_LINE} that SMTP allows"
                " (RFC 5321 4.5.3.1.6). Encode that part as quoted-printable or base64, or fold that header."
            )

    @classmethod
    def from_bytes(cls, raw: bytes, expected: Collection[str] | None = None) -> MailData:
        """Make mail data of a serialised message with any uniform line ends; canonical octets are kept, not copied.

        Args:
            raw: the message.
            expected: the fields that were set, as for ``check_headers``; None where nobody knows.

        Raises:
            HeaderInjection: the header block holds a bare CR, mixed line ends, a line that is no field, or other
                fields than those expected.
            ValueError: there is a NUL, or a line longer than 998 octets.
        """
        check_line_ends(raw)
        data = cls(canonicalize(raw))
        if expected is None:
            header_names(data.content)
        else:
            check_headers(data.content, expected)
        return data

    def __repr__(self) -> str:
        return f"MailData(size={self.size}, is_8bit={self.is_8bit})"

    @property
    def size(self) -> int:
        """Octets as SIZE counts them (RFC 1870 5): CRLFs included, dot-stuffing and end-of-data mark not."""
        return len(self.content)

    @property
    def is_8bit(self) -> bool:
        """Whether the server must offer 8BITMIME (RFC 6152)."""
        return needs_8bit(self.content)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether a header field holds raw UTF-8, so that the server must offer SMTPUTF8 (RFC 6532)."""
        return needs_8bit(header_block(self.content))

    @property
    def message_id(self) -> str | None:
        """The value of the Message-ID field, ``<...>`` included; None without such a field."""
        for name, value in header_fields(self.content):
            if name.lower() == b"message-id":
                return value.decode("utf-8", "replace")
        return None


def downgrade_7bit(data: MailData) -> MailData:
    """Return the message with each 8-bit part as quoted-printable (text) or base64 (the rest): RFC 6152 3.

    Header fields other than the parts' Content-Transfer-Encoding are kept as they are. Data that is 7-bit already
    comes back as the same object.

    Raises:
        ValueError: it can't be done: 8-bit octets outside the parts' bodies, or a signature that would break.
    """
    if not data.is_8bit:
        return data
    if data.needs_smtputf8:
        raise ValueError("The header fields hold raw UTF-8: only a server with SMTPUTF8 can take this message.")
    message = message_from_bytes(data.content, policy=_KEEP_HEADERS)
    for part in message.walk():
        if part.get_content_type() == "multipart/signed" or "DKIM-Signature" in part:
            raise ValueError("The message is signed as 8-bit; re-encoding would break the signature. Sign 7-bit data.")
        _recode_part(part)
    downgraded = MailData.from_bytes(message.as_bytes(policy=_KEEP_HEADERS.clone(cte_type="7bit")))
    if downgraded.is_8bit:
        raise ValueError("The message holds 8-bit octets outside its parts' bodies: compose it as 7-bit.")
    _check_kept(data, downgraded)
    return downgraded


def _recode_part(part: EmailMessage) -> None:
    if part.is_multipart():
        _relabel(part)
        return
    body, source = part.get_payload(decode=True), part.get_payload()
    if not isinstance(body, bytes) or not isinstance(source, str) or source.isascii():
        _relabel(part)
        return
    del part["Content-Transfer-Encoding"]
    if part.get_content_maintype() == "text":
        part.set_payload(quopri.encodestring(body.replace(CRLF, b"\n")).decode("ascii"))
        part["Content-Transfer-Encoding"] = "quoted-printable"
    else:
        part.set_payload(_base64(body))
        part["Content-Transfer-Encoding"] = "base64"


def _relabel(part: EmailMessage) -> None:
    """Say 7bit where 8bit or binary is no longer true (RFC 2045 6.4)."""
    if str(part.get("Content-Transfer-Encoding", "")).strip().lower() in {"8bit", "binary"}:
        part.replace_header("Content-Transfer-Encoding", "7bit")


def _base64(body: bytes) -> str:
    lines = (binascii.b2a_base64(body[i : i + _BASE64_LINE]) for i in range(0, len(body), _BASE64_LINE))
    return b"".join(lines).decode("ascii")


def _check_kept(before: MailData, after: MailData) -> None:
    r"""Trust no serialiser: Python's ends a line at ``\x0b`` and ``\x0c``, so that one header field becomes two."""
    if _kept_fields(before) != _kept_fields(after):
        raise HeaderInjection("Re-encoding would change the header fields: compose the message as 7-bit.")


def _kept_fields(data: MailData) -> list[tuple[bytes, bytes]]:
    return [field for field in header_fields(data.content) if field[0].lower() != b"content-transfer-encoding"]

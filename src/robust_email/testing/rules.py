"""When a server that behaves says no: pure functions that return the refusal, or ``None`` to go ahead."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robust_email.testing.paths import PathArgument
    from robust_email.testing.script import Script

_BARE_NEWLINE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@dataclass(slots=True)
class Transaction:
    """A mail transaction under way."""

    sender: PathArgument
    recipients: list[PathArgument] = field(default_factory=list)
    chunks: bytearray = field(default_factory=bytearray)
    chunked: bool = False


def refuse_mail(script: Script, sender: PathArgument | None, accepted: int, user: str | None) -> str | None:
    """Judge MAIL; ``sender`` is ``None`` for a syntax error, ``accepted`` the messages of this session."""
    limits = script.limits
    if limits.messages is not None and accepted >= limits.messages:
        return limits.messages_reply
    if script.require_auth and user is None:
        return "530 5.7.0 Authentication required"
    if sender is None:
        return "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"
    if unknown := set(sender.parameters) - _mail_parameters(script):
        return f"555 5.5.4 Unsupported parameter {min(unknown)}"
    if not sender.is_ascii and "SMTPUTF8" not in sender.parameters:
        return "553 5.6.7 Address needs SMTPUTF8"
    return _refuse_mail_values(script, sender)


def _refuse_mail_values(script: Script, sender: PathArgument) -> str | None:
    size = script.extensions.size
    if sender.parameters.get("BODY", "7BIT").upper() not in {"7BIT", "8BITMIME"}:
        return "501 5.5.4 BODY=7BIT or BODY=8BITMIME"
    declared = sender.parameters.get("SIZE", "0")
    if not declared.isdigit():
        return "501 5.5.4 SIZE wants a number"
    if size and int(declared) > size:
        return f"552 5.3.4 Message larger than {size} octets"
    return None


def refuse_rcpt(script: Script, recipient: PathArgument | None, transaction: Transaction) -> str | None:
    """Judge RCPT; ``recipient`` is ``None`` for a syntax error."""
    limit = script.limits.recipients
    known = {"NOTIFY", "ORCPT"} if script.extensions.dsn else set()
    if recipient is None or not recipient.path:
        return "501 5.5.4 Syntax: RCPT TO:<address> [parameters]"
    if unknown := set(recipient.parameters) - known:
        return f"555 5.5.4 Unsupported parameter {min(unknown)}"
    if not recipient.is_ascii and "SMTPUTF8" not in transaction.sender.parameters:
        return "553 5.6.7 Address needs SMTPUTF8"
    if limit is not None and len(transaction.recipients) >= limit:
        return "452 4.5.3 Too many recipients"
    return None


def refuse_data(script: Script, transaction: Transaction | None) -> str | None:
    """Judge DATA."""
    if transaction is None:
        return "503 5.5.1 MAIL first"
    if transaction.chunked:
        return "503 5.5.1 DATA after BDAT"
    if not transaction.recipients and not script.quirks.accept_data_without_recipients:
        return "554 5.5.1 No valid recipients"
    return None


def refuse_chunk(script: Script, transaction: Transaction | None, size: int) -> str | None:
    """Judge a BDAT chunk of ``size`` octets, which are read already."""
    limit = script.extensions.size
    if transaction is None:
        return "503 5.5.1 MAIL first"
    if not transaction.recipients:
        return "554 5.5.1 No valid recipients"
    if limit and len(transaction.chunks) + size > limit:
        return f"552 5.3.4 Message larger than {limit} octets"
    return None


def refuse_content(script: Script, transaction: Transaction, content: bytes) -> str | None:
    """Judge the complete content."""
    quirks, size = script.quirks, script.extensions.size
    declared = transaction.sender.parameters
    if not transaction.recipients:
        return "554 5.5.1 No valid recipients"
    if size and len(content) > size:
        return f"552 5.3.4 Message larger than {size} octets"
    if quirks.refuse_bare_newline and _BARE_NEWLINE.search(content):
        return "550 5.5.2 Bare CR or LF in the content"
    is_declared = declared.get("BODY", "").upper() == "8BITMIME" or "SMTPUTF8" in declared
    if quirks.refuse_undeclared_8bit and not is_declared and not content.isascii():
        return "554 5.6.3 8-bit content was not declared"
    return None


def _mail_parameters(script: Script) -> set[str]:
    offered = script.extensions
    keywords = {
        "SIZE": offered.size is not None,
        "BODY": offered.eight_bit_mime,
        "SMTPUTF8": offered.smtputf8,
        "RET": offered.dsn,
        "ENVID": offered.dsn,
        "AUTH": bool(script.accounts),
    }
    return {keyword for keyword, known in keywords.items() if known}

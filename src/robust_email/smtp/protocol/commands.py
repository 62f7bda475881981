"""Command lines (RFC 5321 4.1.1 and the extensions): built here, and nowhere else.

Each function returns the line with its CRLF, or raises ``CommandError`` before anything is written: a
control character, or a space where none may be, is how one command becomes two.
"""

from __future__ import annotations

import base64
import re

MAX_COMMAND = 2048
"""Octets. RFC 5321 4.5.3.1.4 says 512, and extensions raise it."""
MAX_AUTH = 12_288
"""Of a response to a 334 (RFC 4954 4)."""
MAX_AUTH_COMMAND = 512
"""Of AUTH with its initial response, which RFC 4954 4 does not let grow; tokens are often longer."""

_FORBIDDEN = re.compile(rb"[\x00-\x1f\x7f]")
_PATH_FORBIDDEN = re.compile("[\x00-\x20\x7f<>]")
_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(=[^=\x00-\x20\x7f]+)?")


class CommandError(ValueError):
    """The command would not be one command, or not a legal one."""


def line(text: bytes, *, limit: int = MAX_COMMAND) -> bytes:
    """``text`` as one command line."""
    if _FORBIDDEN.search(text):
        raise CommandError("a command must not contain control characters")
    if len(text) + 2 > limit:
        raise CommandError(f"a command must not exceed {limit} octets")
    return text + b"\r\n"


def _path(path: str) -> bytes:
    # A quoted local part may hold a space in RFC 5321; our addresses refuse those (smuggling of parameters).
    if path[:1] != "<" or path[-1:] != ">" or _PATH_FORBIDDEN.search(path[1:-1]):
        raise CommandError("a path is <address>, without spaces, further angle brackets or control characters")
    return path.encode("utf-8")


def _with_parameters(front: bytes, parameters: tuple[str, ...]) -> bytes:
    for parameter in parameters:
        if not _PARAMETER.fullmatch(parameter):
            raise CommandError("malformed ESMTP parameter")
    return line(b" ".join([front, *(parameter.encode("utf-8") for parameter in parameters)]))


def ehlo(name: str) -> bytes:
    """EHLO with our name or address literal."""
    return line(b"EHLO " + _word(name))


def helo(name: str) -> bytes:
    """HELO, for servers older than 1995."""
    return line(b"HELO " + _word(name))


def _word(name: str) -> bytes:
    if not name or not name.isascii() or any(ch <= " " for ch in name):
        raise CommandError("the EHLO name must be printable ASCII without spaces")
    return name.encode("ascii")


def mail(reverse_path: str, *parameters: str) -> bytes:
    """MAIL FROM; ``reverse_path`` is ``<address>``, or ``<>`` for the null reverse path."""
    return _with_parameters(b"MAIL FROM:" + _path(reverse_path), parameters)


def rcpt(forward_path: str, *parameters: str) -> bytes:
    """RCPT TO; ``forward_path`` is ``<address>``."""
    if forward_path == "<>":
        raise CommandError("a forward path must not be empty")
    return _with_parameters(b"RCPT TO:" + _path(forward_path), parameters)


def auth(mechanism: str, initial_response: bytes | None) -> bytes:
    """AUTH, with the initial response if the mechanism has one (RFC 4954 4); ``=`` stands for an empty one.

    One that makes the command longer than ``MAX_AUTH_COMMAND`` stays out, and is the answer to the server's empty 334.
    """
    front = b"AUTH " + _word(mechanism)
    if initial_response is None:
        return line(front)
    auth_response(initial_response)  # too long for either place is known before the server is asked
    whole = line(front + b" " + (base64.b64encode(initial_response) or b"="), limit=MAX_AUTH + len(front) + 1)
    return whole if len(whole) <= MAX_AUTH_COMMAND else line(front)


def auth_response(response: bytes) -> bytes:
    """The answer to a 334 challenge."""
    return line(base64.b64encode(response), limit=MAX_AUTH)


DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
NOOP = b"NOOP\r\n"
QUIT = b"QUIT\r\n"
STARTTLS = b"STARTTLS\r\n"

"""The dialogue as people may read it: secrets, addresses and bodies masked before a line exists."""

from __future__ import annotations

from collections.abc import Callable

from robust_email.smtp.address import masked
from robust_email.smtp.protocol.replies import Reply, ReplyClass, printable
from robust_email.smtp.protocol.states import Verb

__all__ = ["Transcript", "client_line", "masked", "server_lines"]

Transcript = Callable[[str, str], None]
"""Called with ``"C"`` or ``"S"`` and one line, or several joined by LF."""

_SECRET = {Verb.AUTH_RESPONSE: "***"}


def client_line(verb: Verb, octets: tuple[bytes, ...]) -> str:
    """What stands in the transcript for a command."""
    if verb in _SECRET:
        return _SECRET[verb]
    if verb is Verb.END_OF_DATA:
        return f"({sum(map(len, octets))} octets and the end of data)"
    text = printable(octets[0].rstrip(b"\r\n"))
    if verb is Verb.AUTH:
        mechanism = " ".join(text.split(" ")[:2])
        return mechanism if mechanism == text else f"{mechanism} ***"
    if verb in {Verb.BDAT, Verb.BDAT_LAST}:
        return f"{text} ({sum(map(len, octets[1:]))} octets)"
    return masked(text)


def server_lines(reply: Reply, verb: Verb) -> str:
    """What stands in the transcript for a reply; a SASL challenge is nobody's business."""
    if verb in {Verb.AUTH, Verb.AUTH_RESPONSE} and reply.klass is ReplyClass.INTERMEDIATE:
        return f"{reply.code} ***"
    last = len(reply.lines) - 1
    return "\n".join(
        masked(f"{reply.code}{' ' if index == last else '-'}{printable(text)}")
        for index, text in enumerate(reply.lines)
    )

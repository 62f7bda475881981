"""Who speaks on a port that does not speak as expected: TLS, HTTP, SSH, IMAP ..."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.net.deadline import Deadline

if TYPE_CHECKING:
    from robust_email.doctor.visit import Visit
    from robust_email.doctor.watching import WatchedStream

_HTTP_REQUEST: Final = b"OPTIONS / HTTP/1.0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Service:
    """``code`` is the finding it leads to; ``who`` is a noun phrase."""

    code: str
    who: str


_BEGINNINGS: Final = (
    (b"220", Service("port-speaks-plain", "an SMTP server that begins in clear")),
    (b"HTTP/", Service("port-speaks-http", "a web server or HTTP proxy")),
    (b"<", Service("port-speaks-http", "a web server")),
    (b"\x15\x03", Service("port-speaks-tls", "a server that expects TLS")),
    (b"\x16\x03", Service("port-speaks-tls", "a server that speaks TLS")),
    (b"SSH-", Service("not-smtp", "an SSH server")),
    (b"* OK", Service("not-smtp", "an IMAP server")),
    (b"+OK", Service("not-smtp", "a POP3 server")),
    (b"+PONG", Service("not-smtp", "a Redis server")),
    (b"-ERR", Service("not-smtp", "a Redis or POP3 server")),
)


def recognise(beginning: bytes) -> Service | None:
    """Tell a service by the first octets it wrote."""
    return next((service for start, service in _BEGINNINGS if beginning.startswith(start)), None)


def lenient_context() -> ssl.SSLContext:
    """Make a context that takes any certificate and version: to look, never to send mail."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at; the session for mail verifies
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context


def speaks_tls(visit: Visit) -> bool:
    """Whether a TLS handshake from the first octet succeeds, whatever the certificate."""
    try:
        stream = visit.connect()
    except SessionFailure:
        return False
    try:
        stream.start_tls(lenient_context(), Deadline.after(visit.patience, visit.clock))
    except (OSError, ValueError):
        return False
    else:
        return True
    finally:
        stream.abort()


def speaks_in_clear(visit: Visit) -> Service | None:
    """Listen for a greeting, and where none comes, ask in HTTP."""
    try:
        stream = visit.connect()
    except SessionFailure:
        return None
    try:
        beginning = _hear(visit, stream)
        if not beginning:
            stream.write_some(_HTTP_REQUEST)
            beginning = _hear(visit, stream)
        return recognise(beginning)
    except OSError:
        return None
    finally:
        stream.abort()


def _hear(visit: Visit, stream: WatchedStream) -> bytes:
    """Return the first octets, empty if none come."""
    try:
        stream.wait(read=True, write=False, deadline=Deadline.after(visit.patience, visit.clock))
    except TimeoutError:
        return b""
    return stream.read_some() or b""

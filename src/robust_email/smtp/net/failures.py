"""What the network raised, put into a kind to decide by and a sentence that says what to do about it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from robust_email.smtp.failure import Failure, FailureKind, SessionFailure
from robust_email.smtp.net.stream import PlaintextBeforeTls
from robust_email.smtp.phases import Phase

_UNREACHABLE: Final = frozenset(
    {
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EACCES,
        errno.EPERM,
    }
)
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

RESOLVER_REMEDY: Final = (
    "In a container: the `nameserver` lines of its /etc/resolv.conf must name a server that it can reach, and its "
    "network must be the one where that server is (Docker: `dns:` and `networks:` of the service, or `--dns`)."
)
_DNS_WORDS: Final = {
    socket.EAI_NONAME: f"is unknown to DNS. Check EMAIL_HOST for a typo. {RESOLVER_REMEDY}",
    socket.EAI_AGAIN: f"could not be looked up: the DNS server did not answer or had a fault. {RESOLVER_REMEDY}",
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME - 1000): (
        f"has no address in DNS: the name is known, but has no A or AAAA record. Check EMAIL_HOST. {RESOLVER_REMEDY}"
    ),
}

# OpenSSL's X509_V_ERR_* numbers; the stdlib has no names for them.
_CERTIFICATE_WORDS: Final = {
    9: "it is not valid yet; check this machine's clock",
    10: "it has expired; the server's operator must renew it (or this machine's clock is wrong)",
    18: "it is self-signed; if that is meant, name it in EMAIL_SSL_CAFILE",
    19: "its chain ends in an authority that is not trusted here; if that is meant, name it in EMAIL_SSL_CAFILE",
    20: "its issuer is unknown here; name the authority in EMAIL_SSL_CAFILE, or let the server send its intermediate",
    21: "the server does not send the intermediate certificate that leads to a trusted authority",
    62: "it was issued for other names than this host; EMAIL_HOST must be a name that the certificate carries",
    64: "it does not carry this address; EMAIL_HOST should be the name in the certificate instead of an address",
}
_NO_TLS_SPOKEN: Final = (
    "this port does not speak TLS from the first octet: use EMAIL_USE_TLS with port 587 (or 25), or EMAIL_USE_SSL with "
    "port 465"
)
_TLS_WORDS: Final = {
    "WRONG_VERSION_NUMBER": _NO_TLS_SPOKEN,
    "HTTP_REQUEST": _NO_TLS_SPOKEN,
    "RECORD_LAYER_FAILURE": _NO_TLS_SPOKEN,
    "UNSUPPORTED_PROTOCOL": "the server speaks only TLS 1.1 or older, which is not safe; TLS 1.2 is the minimum here",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server refuses every TLS version from 1.2 on",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server asks for a client certificate: EMAIL_SSL_CERTFILE",
    "TLSV1_ALERT_UNKNOWN_CA": "the server does not trust the client certificate in EMAIL_SSL_CERTFILE",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the server found nothing in common: cipher, or a client certificate it wants",
}


def failure_of(exc: BaseException, phase: Phase, endpoint: str) -> Failure:
    """Map what a socket, OpenSSL or ``getaddrinfo`` raised in ``phase`` to a ``Failure``.

    ``endpoint`` (``host:port``) names the relay in the text. A ``SessionFailure`` keeps the failure that it carries.
    An exception that is nobody's network error becomes a ``RESET`` with its type's name.
    """
    if isinstance(exc, SessionFailure):
        return exc.failure
    if isinstance(exc, socket.gaierror):
        return _name_failure(exc, endpoint)
    if isinstance(exc, ssl.SSLError):
        return _tls_failure(exc, phase, endpoint)
    number = exc.errno if isinstance(exc, OSError) else None
    kind, words = _plain_words(exc, number, phase)
    return Failure(kind, phase, f"{endpoint}: {words}", number)


def _plain_words(exc: BaseException, number: int | None, phase: Phase) -> tuple[FailureKind, str]:
    if isinstance(exc, TimeoutError):
        return FailureKind.TIMEOUT, "no answer in time" + (_CONNECT_TIMEOUT_HINT if phase is Phase.CONNECT else "")
    if isinstance(exc, ConnectionRefusedError):
        return FailureKind.CONNECTION_REFUSED, "nothing listens there (connection refused); check EMAIL_PORT"
    if isinstance(exc, EOFError):
        return FailureKind.CLOSED, "the server closed the connection"
    reason = os.strerror(number) if number is not None else type(exc).__name__
    if number in _UNREACHABLE or (phase is Phase.CONNECT and not isinstance(exc, ConnectionError)):
        return FailureKind.UNREACHABLE, f"there is no way to it from here ({reason})"
    return FailureKind.RESET, f"the connection broke ({reason})"


_CONNECT_TIMEOUT_HINT: Final = "; a firewall that drops packets looks like this, and many networks block port 25"


def _name_failure(exc: socket.gaierror, endpoint: str) -> Failure:
    number = exc.errno
    kind = FailureKind.NAME_UNKNOWN if number in _NO_SUCH_NAME else FailureKind.RESOLVER_DOWN
    words = _DNS_WORDS.get(number or 0, f"could not be looked up. {RESOLVER_REMEDY}")
    return Failure(kind, Phase.RESOLVE, f"{endpoint}: the name {words} ({exc.strerror}, errno {number})", number)


def _tls_failure(exc: ssl.SSLError, phase: Phase, endpoint: str) -> Failure:
    # The attributes that OpenSSL's errors have are missing on those that Python code made.
    number, reason = exc.errno, getattr(exc, "reason", None) or ""
    if isinstance(exc, ssl.SSLCertVerificationError):
        words = _CERTIFICATE_WORDS.get(exc.verify_code, exc.verify_message)
        text = f"the server's certificate was refused: {words} ({exc.verify_message})"
        return Failure(FailureKind.CERTIFICATE, phase, f"{endpoint}: {text}", number)
    if isinstance(exc, PlaintextBeforeTls):
        text = "octets in the clear came behind the reply to STARTTLS; somebody may be injecting them"
        return Failure(FailureKind.GARBAGE, phase, f"{endpoint}: {text}", number)
    if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        if phase is Phase.TLS:
            text = "the server closed the connection during the TLS handshake"
            return Failure(FailureKind.TLS, phase, f"{endpoint}: {text}", number)
        return Failure(FailureKind.CLOSED, phase, f"{endpoint}: the server closed the connection", number)
    words = _TLS_WORDS.get(reason, "TLS failed")
    return Failure(FailureKind.TLS, phase, f"{endpoint}: {words} ({reason or 'no reason given'})", number)

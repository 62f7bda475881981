"""Each network error has its kind, its phase and its words."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from robust_email.smtp.failure import Failure, FailureKind, SessionFailure
from robust_email.smtp.net.failures import failure_of
from robust_email.smtp.net.stream import PlaintextBeforeTls
from robust_email.smtp.phases import Phase

K, P = FailureKind, Phase


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    """Make what OpenSSL's verification raises; its numbers come as attributes."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "what OpenSSL says"
    return error


def tls_error(reason: str) -> ssl.SSLError:
    """Make an error of OpenSSL with a reason."""
    error = ssl.SSLError(1, "[SSL: ...] ...")
    error.reason = reason
    return error


TABLE = [
    (TimeoutError("x"), P.GREETING, K.TIMEOUT, "no answer in time"),
    (TimeoutError("x"), P.CONNECT, K.TIMEOUT, "firewall"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "x"), P.CONNECT, K.CONNECTION_REFUSED, "EMAIL_PORT"),
    (ConnectionResetError(errno.ECONNRESET, "x"), P.CONNECT, K.RESET, "connection broke"),
    (ConnectionResetError(errno.ECONNRESET, "x"), P.BODY, K.RESET, "connection broke"),
    (BrokenPipeError(errno.EPIPE, "x"), P.AWAIT_FINAL, K.RESET, "connection broke"),
    (OSError(errno.ENETUNREACH, "x"), P.CONNECT, K.UNREACHABLE, "no way to it"),
    (OSError(errno.EHOSTUNREACH, "x"), P.RCPT, K.UNREACHABLE, "no way to it"),
    (OSError(errno.EADDRNOTAVAIL, "x"), P.CONNECT, K.UNREACHABLE, "no way to it"),
    (OSError(errno.EMFILE, "x"), P.CONNECT, K.UNREACHABLE, "no way to it"),
    (OSError(errno.EIO, "x"), P.DATA, K.RESET, "connection broke"),
    (OSError("without a number"), P.DATA, K.RESET, "OSError"),
    (EOFError(), P.MAIL, K.CLOSED, "closed the connection"),
    (RuntimeError("secret"), P.MAIL, K.RESET, "RuntimeError"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), P.RESOLVE, K.NAME_UNKNOWN, "nameserver"),
    (socket.gaierror(-5, "No address associated with hostname"), P.RESOLVE, K.NAME_UNKNOWN, "no A or AAAA record"),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), P.RESOLVE, K.RESOLVER_DOWN, "Docker"),
    (socket.gaierror(socket.EAI_FAIL, "Non-recoverable"), P.RESOLVE, K.RESOLVER_DOWN, "nameserver"),
    (certificate_error(10), P.TLS, K.CERTIFICATE, "expired"),
    (certificate_error(99), P.GREETING, K.CERTIFICATE, "what OpenSSL says"),
    (tls_error("WRONG_VERSION_NUMBER"), P.TLS, K.TLS, "EMAIL_USE_TLS with port 587"),
    (tls_error("SOMETHING_NEW"), P.BODY, K.TLS, "SOMETHING_NEW"),
    (tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), P.GREETING, K.TLS, "EMAIL_SSL_CERTFILE"),
    (ssl.SSLEOFError(8, "EOF"), P.TLS, K.TLS, "during the TLS handshake"),
    (ssl.SSLEOFError(8, "EOF"), P.BODY, K.CLOSED, "closed the connection"),
    (PlaintextBeforeTls(1, "x"), P.TLS, K.GARBAGE, "STARTTLS"),
]


@pytest.mark.parametrize(
    ("error", "phase", "kind", "words"), TABLE, ids=[f"{row[0]!r} at {row[1].value}" for row in TABLE]
)
def test_each_error_has_its_kind_and_its_words(
    error: BaseException, phase: Phase, kind: FailureKind, words: str
) -> None:
    """By type and number, never by text; the text names the relay and says what to do."""
    failure = failure_of(error, phase, "mx.example.test:587")
    assert (failure.kind, failure.phase) == (kind, phase)
    assert failure.text.startswith("mx.example.test:587: ")
    assert words in failure.text
    assert "secret" not in failure.text


def test_the_number_is_kept_for_those_who_decide_by_it() -> None:
    """``errno`` reaches the public exception."""
    assert failure_of(socket.gaierror(-5, "x"), Phase.RESOLVE, "mx:25").errno == -5
    assert failure_of(BrokenPipeError(errno.EPIPE, "x"), Phase.BODY, "mx:25").errno == errno.EPIPE


def test_a_name_that_fails_later_is_still_about_the_name() -> None:
    """A ``gaierror`` out of an application's own socket factory is a failure to resolve, whatever the phase."""
    assert failure_of(socket.gaierror(-2, "x"), Phase.CONNECT, "mx:25").phase is Phase.RESOLVE


def test_a_failure_found_already_is_kept() -> None:
    """Mapping twice changes nothing."""
    failure = Failure(FailureKind.LOCAL, Phase.TLS, "file missing")
    assert failure_of(SessionFailure(failure), Phase.BODY, "mx:25") is failure

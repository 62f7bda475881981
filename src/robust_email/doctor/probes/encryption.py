"""TLS: the handshake that the library does, verified; where that fails, a second look that takes any certificate."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from robust_email.doctor.causes import CAUSES
from robust_email.doctor.certificate import read_certificate
from robust_email.doctor.explaining import cause_of_failure
from robust_email.doctor.service import lenient_context, speaks_in_clear
from robust_email.doctor.trouble import Trouble, slowness, trouble
from robust_email.smtp import Deadline, TlsMode, context_for
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.net.failures import failure_of
from robust_email.smtp.opening import SessionUnavailable, hello, start_tls
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.states import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit
    from robust_email.doctor.watching import WatchedStream

_EXPIRING: Final = 14
"""Days: automatic renewal happens at thirty."""


def examine_implicit(visit: Visit) -> Iterator[Finding]:
    """TLS from the first octet (RFC 8314)."""
    error: SessionFailure | None = None
    with visit.timed() as watch:
        try:
            context = visit.config.tls_context or context_for(visit.config.tls)
            visit.line = visit.new_line()
            visit.line.stream.start_tls(context, visit.opening_deadline())
        except SessionFailure as exc:
            error = exc
        except (OSError, ValueError) as exc:
            error = SessionFailure(failure_of(exc, Phase.TLS, visit.config.endpoint))
            error.__cause__ = exc
    visit.opening_seconds += watch.seconds
    yield from _judge(visit, error, watch.seconds)


def examine_starttls(visit: Visit) -> Iterator[Finding]:
    """STARTTLS, the handshake, and EHLO again: what was offered before is forgotten (RFC 3207 4.2)."""
    if visit.line is None:
        return
    visit.offered_in_clear = visit.extensions
    if "STARTTLS" not in visit.extensions:
        yield _not_offered(visit)
        visit.hang_up()
        return
    error: SessionFailure | SessionUnavailable | None = None
    visit.line.stream.new_step()
    with visit.timed() as watch:
        try:
            start_tls(visit.line.dialogue, visit.config, visit.extensions, visit.opening_deadline())
        except Trouble as exc:
            error = exc
    visit.opening_seconds += watch.seconds
    if error is not None and _phase_of(error) is not Phase.TLS:
        yield trouble(visit, error, watch.seconds)
        visit.hang_up()
        return
    yield from _judge(visit, error, watch.seconds)
    if visit.line is not None:
        yield from _hello_again(visit)


def _not_offered(visit: Visit) -> Finding:
    masked_by_firewall = any(keyword.startswith("XXXX") for keyword in visit.extensions.keywords)
    offered = ", ".join(sorted(visit.extensions.keywords)) or "nothing"
    code = "starttls-stripped" if masked_by_firewall else "starttls-missing"
    return visit.note(code, f"STARTTLS is required and not offered; the server offers {offered}")


def _hello_again(visit: Visit) -> Iterator[Finding]:
    line = visit.line
    if line is None:
        return
    line.stream.new_step()
    with visit.timed() as watch:
        try:
            visit.extensions = hello(line.dialogue, visit.own_name, visit.opening_deadline())
        except Trouble as exc:
            yield trouble(visit, exc, visit.config.timeouts.opening)
            visit.hang_up()
            return
    visit.opening_seconds += watch.seconds
    visit.identified = True
    yield from slowness(visit, Phase.EHLO, watch.seconds)


def _phase_of(error: SessionFailure | SessionUnavailable) -> Phase:
    return error.failure.phase if isinstance(error, SessionFailure) else error.verdict.phase


def _judge(visit: Visit, error: SessionFailure | SessionUnavailable | None, seconds: float) -> Iterator[Finding]:
    """Describe a handshake that succeeded, or say why it did not."""
    if error is None and visit.line is not None:
        visit.encrypted = True
        stream = visit.line.stream
        yield visit.note("tls", f"{stream.tls_version} with {stream.cipher}", seconds=seconds)
        yield from _describe(visit, stream)
        return
    visit.drop()
    if error is not None:
        yield _failed(visit, error, seconds)


def _failed(visit: Visit, error: SessionFailure | SessionUnavailable, seconds: float) -> Finding:
    if not isinstance(error, SessionFailure):
        return trouble(visit, error, seconds)
    failure, cause = error.failure, error.__cause__
    code = cause_of_failure(failure, cause)
    if code == "tls-files-unusable":
        return visit.note(code, failure.text, seconds=seconds)
    found = _openssl_words(failure.text, cause)
    if visit.config.tls.mode is TlsMode.IMPLICIT and failure.kind in {FailureKind.TLS, FailureKind.TIMEOUT}:
        service = speaks_in_clear(visit)
        if service is not None:
            return visit.note(service.code, f"{service.who} answers on {visit.address}", seconds=seconds)
        if code == "port-speaks-plain":
            code = "tls-failed"
    if failure.kind in {FailureKind.CERTIFICATE, FailureKind.TLS}:
        seen = _look_closer(visit)
        code = "tls-too-old" if seen.startswith(("TLSv1 ", "TLSv1.1 ")) else code
        found = f"{found}; {seen}" if seen else found
    remedy = f"{CAUSES[code].remedy} {_openssl_command(visit)}"
    return visit.note(code, found, seconds=seconds, remedy=remedy)


def _openssl_words(text: str, cause: BaseException | None) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"OpenSSL: {cause.verify_message}"
    reason = getattr(cause, "reason", None) if isinstance(cause, ssl.SSLError) else None
    return f"OpenSSL: {reason}" if reason else text


def _openssl_command(visit: Visit) -> str:
    config = visit.config
    starttls = " -starttls smtp" if config.tls.mode is TlsMode.STARTTLS else ""
    return (
        f"To see for yourself: openssl s_client -connect {config.endpoint}{starttls} -servername {config.host} "
        f"-verify_hostname {config.host}"
    )


def _describe(visit: Visit, stream: WatchedStream) -> Iterator[Finding]:
    chain = stream.certificate_chain
    if not chain:
        return
    try:
        certificate = read_certificate(chain[0])
    except ValueError:
        return
    now = visit.surroundings.now()
    days = certificate.days_left(now)
    sent = f"; {len(chain)} certificates sent" if len(chain) > 1 else ""
    yield visit.note("tls", certificate.describe(now) + sent)
    if days < _EXPIRING:
        yield visit.note("certificate-expiring", f"the server's certificate expires in {days} days")


def _look_closer(visit: Visit) -> str:
    """Shake hands anew, taking any version and certificate, and describe what is there; empty if that fails too."""
    deadline = Deadline.after(2 * visit.patience, visit.clock)
    try:
        line = visit.new_line()
    except SessionFailure:
        return ""
    try:
        if visit.config.tls.mode is TlsMode.STARTTLS:
            line.dialogue.next_reply(deadline)
            hello(line.dialogue, visit.config.local_hostname or "localhost", deadline)
            line.ask(Verb.STARTTLS, commands.STARTTLS, deadline)
        line.stream.start_tls(lenient_context(), deadline)
        version, chain = line.stream.tls_version, line.stream.certificate_chain
        return f"{version} {read_certificate(chain[0]).describe(visit.surroundings.now())}"
    except (OSError, ValueError, IndexError, *Trouble):
        return ""
    finally:
        line.dialogue.abort()

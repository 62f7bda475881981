"""From the greeting to ready: TLS and AUTH are had as required or there is no session, and nothing leaks meanwhile."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp import (
    Credentials,
    Deadline,
    Phase,
    Scope,
    SmtpConfig,
    SubmissionClient,
    Timeouts,
    TlsMode,
    TlsPolicy,
)
from robust_email.smtp import errors as kinds
from robust_email.smtp.failure import FailureKind
from robust_email.smtp.net.memory import MemoryStream
from robust_email.smtp.opening import SessionUnavailable
from robust_email.smtp.session import open_session
from robust_email.testing import (
    Action,
    At,
    Close,
    Extensions,
    Fault,
    Flood,
    Garbage,
    Inject,
    Reply,
    Reset,
    Script,
    ScriptedServer,
    Stall,
    TlsGarbage,
)
from robust_email.testing.certs import Certificate
from robust_email.testing.clock import FakeClock
from robust_email.testing.script import MECHANISMS
from tests.submission.relay import AT_ONCE, PATIENT, client_of, envelope, mail, words

if TYPE_CHECKING:
    from robust_email.smtp import SubmissionReport
    from robust_email.smtp.net.bytestream import ByteStream
    from robust_email.testing.certs import CertificateAuthority

SHORT = Timeouts(opening=10.0, command=1.0, block=1.0, final_reply=1.0)
SECRET = Credentials("shop", "CANARY-PW")
ACCOUNTS = {"shop": "CANARY-PW"}


def submitted(server: ScriptedServer, tls: TlsPolicy, credentials: Credentials | None = SECRET) -> SubmissionReport:
    """Submit one mail in one attempt."""
    fields = {"credentials": credentials} if credentials else {}
    with client_of(server, tls=tls, timeouts=SHORT, **fields) as client:  # type: ignore[arg-type]  # one key of Fields
        report = client.submit(envelope(), mail())
        assert client.pool.stats().leased == 0
    return report


def nothing_leaked(server: ScriptedServer) -> None:
    """No credentials and no mail crossed the line."""
    for transcript in server.transcripts:
        assert "AUTH" not in transcript.verbs
        assert "MAIL" not in transcript.verbs
        assert b"CANARY" not in transcript.received
        assert base64.b64encode(b"\0shop\0CANARY-PW") not in transcript.received
    assert server.accepted == []


@pytest.fixture
def starttls(smtp_certs: CertificateAuthority) -> TlsPolicy:
    """Required STARTTLS, trusting the tests' authority."""
    return TlsPolicy(TlsMode.STARTTLS, cafile=str(smtp_certs.ca_file))


def test_starttls_stripped_from_the_offer_ends_it(starttls: TlsPolicy) -> None:
    """S11. Without STARTTLS in the EHLO reply there is no session, and not an octet of the credentials leaves."""
    with ScriptedServer(Script(accounts=ACCOUNTS)) as server:
        report = submitted(server, starttls)
        assert (report.decisive.scope, report.decisive.phase) == (Scope.CONFIGURATION, Phase.STARTTLS)
        nothing_leaked(server)


STARTTLS_FAULTS: list[tuple[At, Action, str, Phase]] = [
    (At.STARTTLS, Reply("454 4.7.0 TLS not available"), "deferred", Phase.STARTTLS),
    (At.STARTTLS, Reply("500 5.5.1 unknown"), "refused", Phase.STARTTLS),
    (At.STARTTLS, Reply("421 4.3.2 bye"), "deferred", Phase.STARTTLS),
    (At.STARTTLS, Reply("354 what?"), "deferred", Phase.STARTTLS),
    (At.STARTTLS, Close(), "deferred", Phase.STARTTLS),
    (At.STARTTLS, Reset(), "deferred", Phase.STARTTLS),
    (At.STARTTLS, Stall(), "deferred", Phase.STARTTLS),
    (At.STARTTLS, Garbage(), "deferred", Phase.STARTTLS),
    (At.STARTTLS, Flood(), "deferred", Phase.STARTTLS),
    (At.TLS, Reply("\x16\x03 this is no handshake", delay=0.1), "deferred", Phase.TLS),
    (At.TLS, Close(), "deferred", Phase.TLS),
    (At.TLS, Reset(), "deferred", Phase.TLS),
    (At.TLS, Stall(), "deferred", Phase.TLS),
]


@pytest.mark.parametrize("case", STARTTLS_FAULTS)
def test_starttls_that_fails_is_never_followed_by_clear_text(
    case: tuple[At, Action, str, Phase], smtp_certs: CertificateAuthority, starttls: TlsPolicy
) -> None:
    """S12. Refused, silent or broken: the session is gone, and the mail and the credentials have stayed here."""
    at, action, expected, phase = case
    script = Script(starttls=smtp_certs.server_context(), accounts=ACCOUNTS, faults=[Fault(at, action)])
    silent = isinstance(action, Stall)
    timeouts = Timeouts(opening=0.6, command=0.3, block=0.3, final_reply=0.3) if silent else PATIENT
    with (
        ScriptedServer(script) as server,
        client_of(server, tls=starttls, credentials=SECRET, timeouts=timeouts) as client,
    ):
        report = client.submit(envelope(), mail())
        assert (words(report)["ann"], report.decisive.phase) == (expected, phase)
        nothing_leaked(server)


INJECTED = [b"250-x\r\n250 AUTH PLAIN\r\n", b"2", b"\r\n"]


def test_a_handshake_answered_at_once_with_no_tls_ends_the_session(
    smtp_certs: CertificateAuthority, starttls: TlsPolicy
) -> None:
    """S12. Garbage right behind the 220 is an injection or a broken handshake, whichever segment it came in."""
    script = Script(starttls=smtp_certs.server_context(), accounts=ACCOUNTS, faults=[Fault(At.TLS, TlsGarbage())])
    with ScriptedServer(script) as server:
        report = submitted(server, starttls)
        assert words(report) == {"ann": "deferred"}
        assert report.decisive.phase in {Phase.STARTTLS, Phase.TLS}
        nothing_leaked(server)


@pytest.mark.parametrize("octets", INJECTED)
def test_octets_injected_behind_the_220_end_the_session(
    octets: bytes, smtp_certs: CertificateAuthority, starttls: TlsPolicy
) -> None:
    """S13, CVE-2011-0411. Plaintext that would be read as if it had come encrypted: no handshake, no credentials."""
    fault = Fault(At.STARTTLS, Inject(octets))
    with ScriptedServer(Script(starttls=smtp_certs.server_context(), accounts=ACCOUNTS, faults=[fault])) as server:
        report = submitted(server, starttls)
        assert words(report) == {"ann": "deferred"}
        assert report.decisive.failure is not None
        assert report.decisive.failure.kind is FailureKind.GARBAGE
        nothing_leaked(server)


def test_only_the_offer_made_under_tls_counts(smtp_certs: CertificateAuthority, starttls: TlsPolicy) -> None:
    """S13. What was offered in the clear is forgotten (RFC 3207 4.2): CHUNKING stripped under TLS means no BDAT."""
    in_clear = Reply("250-scripted.test\n250-CHUNKING\n250-PIPELINING\n250-SIZE 10\n250 STARTTLS")
    script = Script(
        starttls=smtp_certs.server_context(),
        extensions=Extensions(chunking=False, pipelining=False),
        faults=[Fault(At.EHLO, in_clear, times=1)],
    )
    with ScriptedServer(script) as server:
        assert submitted(server, starttls, None).all_accepted
        assert server.transcript().verbs[:6] == ("EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA")


BAD = [c for c in Certificate if c is not Certificate.GOOD]


@pytest.mark.parametrize("mode", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
@pytest.mark.parametrize("certificate", BAD)
def test_a_certificate_that_does_not_verify_ends_it(
    certificate: Certificate, mode: TlsMode, smtp_certs: CertificateAuthority
) -> None:
    """S14. Expired, for elsewhere, by nobody known, with a common name alone: no credentials, no retry of its own."""
    context = smtp_certs.server_context(certificate)
    script = (
        Script(starttls=context, accounts=ACCOUNTS)
        if mode is TlsMode.STARTTLS
        else Script(implicit_tls=context, accounts=ACCOUNTS)
    )
    with ScriptedServer(script) as server:
        tls = TlsPolicy(mode, cafile=str(smtp_certs.ca_file))
        with client_of(server, tls=tls, credentials=SECRET, retry=AT_ONCE) as client:
            report = client.submit(envelope(), mail())
        assert (words(report)["ann"], report.decisive.phase) == ("deferred", Phase.TLS)
        assert report.decisive.failure is not None
        assert report.decisive.failure.kind is FailureKind.CERTIFICATE
        assert server.connections == 1, "the same certificate would come again in two seconds"
        nothing_leaked(server)


def test_implicit_tls_to_a_port_that_speaks_in_the_clear(smtp_certs: CertificateAuthority) -> None:
    """EMAIL_USE_SSL on port 587: the words say what to set instead."""
    with ScriptedServer() as server:
        report = submitted(server, TlsPolicy(TlsMode.IMPLICIT, cafile=str(smtp_certs.ca_file)))
        assert report.decisive.phase is Phase.TLS
        assert "EMAIL_USE_TLS" in report.decisive.reason
        nothing_leaked(server)


def test_a_ca_file_that_is_missing_is_known_before_the_network() -> None:
    """A mistake of ours, for a person to mend: nothing was opened."""
    with ScriptedServer() as server:
        report = submitted(server, TlsPolicy(TlsMode.STARTTLS, cafile="/nonexistent/ca.pem"))
        assert (words(report)["ann"], report.decisive.scope) == ("refused", Scope.CONFIGURATION)
        assert server.connections == 0


# -- AUTH


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_each_mechanism_logs_in(mechanism: str, smtp_certs: CertificateAuthority, starttls: TlsPolicy) -> None:
    """Each mechanism of ours against the server's own half, with the password that it has."""
    script = Script(
        starttls=smtp_certs.server_context(),
        accounts=ACCOUNTS,
        require_auth=True,
        extensions=Extensions(auth=[mechanism]),
    )
    token = "CANARY-PW" if "OAUTH" in mechanism else None
    with ScriptedServer(script) as server:
        assert submitted(server, starttls, Credentials("shop", "CANARY-PW", access_token=token)).all_accepted
        assert server.accepted[0].user == "shop"


AUTH_FAULTS: list[tuple[Action, str, Scope]] = [
    (Reply("535 5.7.8 no"), "refused", Scope.CONFIGURATION),
    (Reply("534 5.7.9 too weak"), "refused", Scope.CONFIGURATION),
    (Reply("538 5.7.11 encrypt"), "refused", Scope.CONFIGURATION),
    (Reply("454 4.7.0 later"), "deferred", Scope.ENDPOINT),
    (Reply("421 4.3.2 bye"), "deferred", Scope.ENDPOINT),
    (Reply("334 !!! no base64"), "deferred", Scope.ENDPOINT),
    (Close(), "deferred", Scope.ENDPOINT),
    (Reset(), "deferred", Scope.ENDPOINT),
    (Stall(), "deferred", Scope.ENDPOINT),
    (Garbage(), "deferred", Scope.ENDPOINT),
    (Flood(), "deferred", Scope.ENDPOINT),
]


@pytest.mark.parametrize(("action", "expected", "scope"), AUTH_FAULTS)
def test_auth_that_fails_leaves_no_session(
    action: Action, expected: str, scope: Scope, smtp_certs: CertificateAuthority, starttls: TlsPolicy
) -> None:
    """Refused credentials are a person's to mend; anything else may pass. No mail goes without log-in."""
    script = Script(starttls=smtp_certs.server_context(), accounts=ACCOUNTS, faults=[Fault(At.AUTH, action)])
    with ScriptedServer(script) as server:
        report = submitted(server, starttls)
        assert (words(report)["ann"], report.decisive.scope) == (expected, scope)
        assert report.decisive.phase is Phase.AUTH
        assert "MAIL" not in server.transcript().verbs
        assert "CANARY" not in repr(report)


def test_a_server_that_asks_without_end_is_left(smtp_certs: CertificateAuthority, starttls: TlsPolicy) -> None:
    """334 after 334: no mechanism of ours has so many challenges."""
    dialogue = [b"220 hi\r\n", b"250-hi\r\n250 AUTH LOGIN\r\n", *[b"334 VXNlcm5hbWU6\r\n"] * 20]
    verdict = _opened(dialogue, credentials=SECRET)
    assert isinstance(verdict, SessionUnavailable)
    assert verdict.verdict.phase is Phase.AUTH


def test_a_server_without_auth_is_told_no_password(smtp_certs: CertificateAuthority, starttls: TlsPolicy) -> None:
    """Credentials are set and the server offers no AUTH: a mistake of configuration, not a mail without log-in."""
    with ScriptedServer(Script(starttls=smtp_certs.server_context())) as server:
        report = submitted(server, starttls)
        assert report.decisive.scope is Scope.CONFIGURATION
        nothing_leaked(server)


def test_a_server_that_offers_only_what_we_may_not_use(smtp_certs: CertificateAuthority, starttls: TlsPolicy) -> None:
    """No mechanism in common: a mistake of configuration, and no password in a mechanism that was not allowed."""
    script = Script(starttls=smtp_certs.server_context(), accounts=ACCOUNTS, extensions=Extensions(auth=["PLAIN"]))
    with ScriptedServer(script) as server:
        report = submitted(server, starttls, Credentials("shop", "CANARY-PW", mechanisms=("SCRAM-SHA-256",)))
        assert report.decisive.scope is Scope.CONFIGURATION
        nothing_leaked(server)


@pytest.mark.parametrize(
    ("peer_is_loopback", "allowed", "expected"), [(False, False, False), (False, True, True), (True, False, True)]
)
def test_auth_crosses_a_clear_channel_only_if_told_so(*, peer_is_loopback: bool, allowed: bool, expected: bool) -> None:
    """S16. Refused by default; told so by name, or to this very machine, it is allowed."""
    stream = MemoryStream([b"220 hi\r\n", b"250-hi\r\n250 AUTH PLAIN\r\n", b"235 welcome\r\n"])
    stream.peer_is_loopback = peer_is_loopback
    found = _opened(stream, credentials=SECRET, allow_clear_text_auth=allowed)
    assert (b"AUTH PLAIN" in stream.written) == expected
    if not expected:
        assert isinstance(found, SessionUnavailable)
        assert found.verdict.scope is Scope.CONFIGURATION
        assert stream.aborted


def test_a_token_too_long_for_a_command_is_a_mistake_of_ours() -> None:
    """RFC 4954 4 bounds AUTH at 12288 octets; more than that is said in a verdict, not in a traceback."""
    stream = MemoryStream([b"220 hi\r\n", b"250-hi\r\n250 AUTH XOAUTH2 PLAIN\r\n"])
    stream.peer_is_loopback = True
    found = _opened(stream, credentials=Credentials("shop", access_token="x" * 20_000))
    assert isinstance(found, SessionUnavailable)
    assert found.verdict.scope is Scope.CONFIGURATION
    assert stream.aborted


LONG_TOKEN = "CANARY" * 200
"""As Microsoft's are: longer than a command may be, shorter than a response may be."""


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"])
def test_what_is_too_long_for_auth_comes_after_the_empty_challenge(mechanism: str) -> None:
    """RFC 4954 4: no initial response that makes AUTH longer than 512 octets; the server refuses one with 500."""
    user = "u" * 400
    script = Script(accounts={user: LONG_TOKEN}, require_auth=True, extensions=Extensions(auth=[mechanism]))
    token = LONG_TOKEN if "OAUTH" in mechanism else None
    with ScriptedServer(script) as server:
        assert submitted(server, TlsPolicy(), Credentials(user, LONG_TOKEN, access_token=token)).all_accepted
        assert server.accepted[0].user == user
        assert f"AUTH {mechanism}\r\n".encode() in server.transcript().received


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_server_that_takes_no_initial_response_gets_the_token_when_it_asks(mechanism: str) -> None:
    """An empty 334 is a question, and no refusal of the token."""
    hello, welcome = b"250-hi\r\n250 AUTH %b\r\n" % mechanism.encode(), b"235 welcome\r\n"
    stream = MemoryStream([b"220 hi\r\n", hello, b"334 \r\n", welcome])
    stream.peer_is_loopback = True
    assert _opened(stream, credentials=Credentials("shop", access_token="t0ken")) is None
    [first, again] = [line.rpartition(b" ")[2] for line in stream.written.splitlines()[1:3]]
    assert first == again


# -- greeting and EHLO


class _To:
    """A connector that is connected already."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def connect(self, deadline: Deadline | None = None) -> ByteStream:
        """Give the stream."""
        return self._stream


def _opened(
    stream: MemoryStream | list[bytes],
    *,
    credentials: Credentials | None = None,
    allow_clear_text_auth: bool = False,
) -> SessionUnavailable | None:
    """Open a session over a script; return what it was refused with."""
    if isinstance(stream, list):
        stream = MemoryStream(stream)
        stream.peer_is_loopback = True
    clock = FakeClock()
    config = SmtpConfig(host="mx.test", credentials=credentials, allow_clear_text_auth=allow_clear_text_auth)
    try:
        open_session(_To(stream), config, Deadline.after(5.0, clock), clock=clock)  # type: ignore[arg-type]  # a stand-in
    except SessionUnavailable as unavailable:
        return unavailable
    return None


@pytest.mark.parametrize("refusal", [b"500 what?\r\n", b"502 not implemented\r\n", b"504 no\r\n"])
def test_helo_where_ehlo_is_unknown(refusal: bytes) -> None:
    """RFC 5321 3.2: a server older than EHLO is greeted with HELO, and offers nothing."""
    stream = MemoryStream([b"220 hi\r\n", refusal, b"250 hi\r\n"])
    assert _opened(stream) is None
    assert [line[:4] for line in bytes(stream.written).splitlines()] == [b"EHLO", b"HELO"]


@pytest.mark.parametrize(
    ("script", "phase"),
    [
        ([b""], Phase.GREETING),
        ([b"220 half"], Phase.GREETING),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], Phase.GREETING),
        ([b"220 hi\r\n220 hi again\r\n"], Phase.GREETING),
        ([b"220 hi\r\n", b"250 hi\r\n250 more\r\n"], Phase.EHLO),
        ([b"220 hi\r\n", b""], Phase.EHLO),
        ([b"220 hi\r\n", b"550 no\r\n"], Phase.EHLO),
        ([b"220 hi\r\n", b"502 what?\r\n", b"502 what?\r\n"], Phase.EHLO),
        ([b"220 hi\r\n", ConnectionResetError()], Phase.EHLO),
    ],
)
def test_what_is_no_greeting_or_no_offer(script: list[bytes], phase: Phase) -> None:
    """The phase is the one in which it happened, and the connection is dropped without another word."""
    stream = MemoryStream(script)
    found = _opened(stream)
    assert isinstance(found, SessionUnavailable)
    assert found.verdict.phase is phase
    assert stream.aborted


def test_opening_is_bounded_by_one_deadline() -> None:
    """Each reply late but in its own time: the whole opening still ends with its own limit."""
    drips = [Fault(at, Reply(delay=0.2)) for at in (At.GREETING, At.EHLO, At.STARTTLS)]
    timeouts = Timeouts(opening=0.3, command=10.0, block=10.0, final_reply=10.0)
    with ScriptedServer(Script(faults=drips)) as server, client_of(server, timeouts=timeouts) as client:
        report = client.submit(envelope(), mail())
        assert report.decisive.phase is Phase.EHLO
        assert report.seconds < 2.0


def test_verify_opens_a_session_and_keeps_it() -> None:
    """Django's open() as a connection test: TLS and AUTH are tried, no mail, and the session is used afterwards."""
    with ScriptedServer(Script(accounts=ACCOUNTS)) as server, client_of(server, credentials=SECRET) as client:
        client.verify()
        assert server.transcript().verbs == ("EHLO", "AUTH")
        assert client.submit(envelope(), mail()).all_accepted
        assert server.connections == 1


def test_verify_raises_the_kind_that_a_submission_would() -> None:
    """One attempt, and the leaf of the tree with phase and endpoint."""
    with ScriptedServer(Script(accounts={"shop": "other"})) as server, client_of(server, credentials=SECRET) as client:
        with pytest.raises(kinds.AuthenticationRefused) as caught:
            client.verify()
        assert caught.value.phase is Phase.AUTH
        assert server.connections == 1
    gone = SubmissionClient(SmtpConfig(host="127.0.0.1", port=server.port))
    with pytest.raises(kinds.ConnectionRefused) as refused:
        gone.verify()
    assert isinstance(refused.value.__cause__, ConnectionRefusedError)

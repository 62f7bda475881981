"""One contract, kept with servers that nobody here wrote: what the client says is what the server's own books say.

Recipients whose local part begins with ``bad`` are refused everywhere, ``temp`` is put off where the server can.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp import (
    Credentials,
    Deadline,
    MailData,
    OpeningRetry,
    PoolLimits,
    SmtpConfig,
    Submission,
    SubmissionClient,
    TlsMode,
    TlsPolicy,
)
from robust_email.smtp.wire import Transport
from robust_email.testing import At, Fault, Reply, Script, ScriptedServer
from tests.servers.running import RunningServer
from tests.submission.relay import PATIENT, TRANSPORTS, envelope, in_windows_of, mail, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from robust_email.smtp import SubmissionReport, WirePolicy
    from robust_email.testing.certs import CertificateAuthority
    from tests.servers.running import ServerStarter, ServerTls, Taken


@dataclass(frozen=True)
class Kind:
    """A server as the contract knows it: its fixture, how it is started, and how it is to be spoken to."""

    fixture: str
    transport: Transport
    options: Mapping[str, object]
    defers: bool = True
    """Whether it can put a recipient off."""


KINDS = {
    "scripted stepwise": Kind("scripted", Transport.STEPWISE, {"transport": "stepwise"}),
    "scripted pipelined": Kind("scripted", Transport.PIPELINED, {"transport": "pipelined"}),
    "scripted chunked": Kind("scripted", Transport.CHUNKED, {"transport": "chunked"}),
    "aiosmtpd": Kind("aiosmtpd_server", Transport.STEPWISE, {}),
    "Postfix": Kind("postfix", Transport.CHUNKED, {}),
    "Postfix, strict": Kind("postfix", Transport.CHUNKED, {"strict": True}),
    "Exim": Kind("exim", Transport.CHUNKED, {}),
    "Haraka": Kind("haraka", Transport.PIPELINED, {}),
    "OpenSMTPD": Kind("opensmtpd", Transport.STEPWISE, {}, defers=False),
}
MARKS = {"postfix": pytest.mark.postfix, "exim": pytest.mark.exim}


@contextlib.contextmanager
def _scripted(transport: str) -> Iterator[RunningServer]:
    faults = (
        Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bad"),
        Fault(At.RCPT, Reply("451 4.7.1 come back later"), subject="temp"),
    )
    with ScriptedServer(Script(extensions=TRANSPORTS[transport], faults=faults)) as server:

        def ledger() -> list[Taken]:
            return [(path, message.message_id) for message in server.accepted for path in message.forward_paths]

        yield RunningServer(name="scripted", port=server.port, read_ledger=ledger)


@pytest.fixture
def scripted() -> Iterator[ServerStarter]:
    """Give a factory of scripted servers, as the real ones have."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(_scripted(str(options["transport"])))


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(kind.fixture, ())) for name, kind in KINDS.items()])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Give each kind of server."""
    return KINDS[str(request.param)]


@pytest.fixture
def server(kind: Kind, request: pytest.FixtureRequest) -> RunningServer:
    """Give a server of the kind, running."""
    start: Callable[..., RunningServer] = request.getfixturevalue(kind.fixture)
    return start(**kind.options)


@contextlib.contextmanager
def relay(server: RunningServer, wire: WirePolicy | None = None) -> Iterator[SubmissionClient]:
    """Give a client of the server, which never tries again: the contract is about single answers."""
    config = SmtpConfig(
        host=server.host,
        port=server.port,
        timeouts=PATIENT,
        retry=OpeningRetry(attempts=1),
        wire=wire or in_windows_of(1),
        pool=PoolLimits(max_refusals=100),
    )
    client = SubmissionClient(config)
    yield client
    client.close()


def books(reports: Sequence[SubmissionReport]) -> list[Taken]:
    """What the server must have in its ledger if the reports are true and hold no doubt."""
    assert not [report for report in reports if report.in_doubt]
    return sorted((to, str(report.message_id)) for report in reports for to in report.accepted)


def agree(server: RunningServer, reports: Sequence[SubmissionReport]) -> None:
    """Compare the client's claims with the server's own books, entry by entry."""
    claimed = books(reports)
    assert sorted(server.wait_for_ledger(len(claimed))) == claimed


def test_one_mail_is_accepted(server: RunningServer, kind: Kind) -> None:
    """The server's EHLO chooses the way of writing; the mail is in its books once."""
    with relay(server) as client:
        report = client.submit(envelope("ann"), mail())
        assert report.all_accepted
        with client.lease() as session:
            assert session.transport() is kind.transport
        agree(server, [report])


def test_recipients_are_told_apart(server: RunningServer, kind: Kind) -> None:
    """Accepted, refused and put off in one mail, each with the server's own reply."""
    names = ("ann", "bad", "bob", *(["temp"] if kind.defers else []))
    with relay(server) as client:
        report = client.submit(envelope(*names), mail())
        expected = {"ann": "accepted", "bad": "refused", "bob": "accepted", "temp": "deferred"}
        assert words(report) == {name: expected[name] for name in names}
        agree(server, [report])
        bad = report.verdicts["bad@example.org"].reply
        assert bad is not None
        assert bad.code // 100 == 5


def test_a_mail_that_nobody_may_have_is_refused(server: RunningServer) -> None:
    """All recipients refused, and the next mail on the same session is accepted in its own envelope."""
    with relay(server) as client:
        reports = [client.submit(envelope("bad", "bad2"), mail(1)), client.submit(envelope("ann"), mail(2))]
        assert [words(report) for report in reports] == [{"bad": "refused", "bad2": "refused"}, {"ann": "accepted"}]
        agree(server, reports)


def test_a_mail_that_nobody_may_have_yet_is_deferred(server: RunningServer, kind: Kind) -> None:
    """4yz for everybody: DEFERRED, with nothing in the books."""
    name, state = ("temp", "deferred") if kind.defers else ("ann", "accepted")
    with relay(server) as client:
        reports = [client.submit(envelope(name), mail(1)), client.submit(envelope("ann"), mail(2))]
        assert [words(report) for report in reports] == [{name: state}, {"ann": "accepted"}]
        agree(server, reports)


def test_many_mails_share_one_session(server: RunningServer) -> None:
    """Thirty mails, one connection, each in the books once."""
    with relay(server) as client:
        reports = [client.submit(envelope("ann"), mail(n)) for n in range(30)]
        assert all(report.all_accepted for report in reports)
        assert client.pool.stats().opened == 1
        agree(server, reports)


def test_a_window_with_refusals_amid_it_mixes_nothing(server: RunningServer) -> None:
    """Eight in flight, every third refused: no mail goes out in another's envelope (Exim does that without RSET)."""
    mixed = [Submission(envelope(f"bad{n}" if n % 3 == 1 else f"ann{n}"), mail(n), n) for n in range(16)]
    with relay(server, in_windows_of(8)) as client:
        reports = [report for _, report in client.submit_many(mixed)]
        assert [bool(report.accepted) for report in reports] == [n % 3 != 1 for n in range(16)]
        agree(server, reports)


def test_a_window_of_mails_with_mixed_recipients(server: RunningServer) -> None:
    """Eight in flight, each with one good and one bad recipient, as a newsletter has them."""
    mixed = [Submission(envelope(f"ann{n}", f"bad{n}"), mail(n), n) for n in range(8)]
    with relay(server, in_windows_of(8)) as client:
        reports = [report for _, report in client.submit_many(mixed)]
        assert [len(report.accepted) for report in reports] == [1] * 8
        assert [len(report.refused) for report in reports] == [1] * 8
        agree(server, reports)


def test_a_big_mail_arrives(server: RunningServer) -> None:
    """A megabyte and a half in lines of 76, amid small ones in a window."""
    big = b"".join(b"%076d\r\n" % n for n in range(20_000))
    sizes = [b"hello\r\n", big, b"hello\r\n"]
    with relay(server, in_windows_of(4)) as client:
        reports = [r for _, r in client.submit_many([Submission(envelope(), mail(n, b)) for n, b in enumerate(sizes)])]
        assert all(report.all_accepted for report in reports)
        agree(server, reports)


def test_lines_of_dots_and_commands_are_content(server: RunningServer) -> None:
    """What looks like an end of data, or like commands behind one, stays inside the mail."""
    body = b".\r\n..\r\n.hidden\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<evil@example.org>\r\nDATA\r\n.\r\nQUIT\r\n."
    with relay(server, in_windows_of(3)) as client:
        reports = [r for _, r in client.submit_many([Submission(envelope(), mail(n, body)) for n in range(3)])]
        assert all(report.all_accepted for report in reports)
        agree(server, reports)


def test_eight_bit_mail_arrives_or_is_downgraded(server: RunningServer) -> None:
    """UTF-8 text as 8BITMIME where it is offered, as quoted-printable where it is not."""
    data = MailData.from_bytes(
        b"Message-ID: <8@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    )
    with relay(server) as client:
        report = client.submit(envelope(), data)
        assert report.all_accepted
        agree(server, [report])


# aiosmtpd offers no AUTH on a port that is encrypted from the start.
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("aiosmtpd", TlsMode.STARTTLS),
        ("Postfix", TlsMode.STARTTLS),
        ("Postfix", TlsMode.IMPLICIT),
        ("Postfix, strict", TlsMode.STARTTLS),
        ("Exim", TlsMode.STARTTLS),
        ("Exim", TlsMode.IMPLICIT),
    ],
)
def test_tls_and_auth(
    name: str, mode: TlsMode, request: pytest.FixtureRequest, smtp_certs: CertificateAuthority
) -> None:
    """Verified TLS in both modes, then AUTH, then twenty mails in windows of eight over one session."""
    kind = KINDS[name]
    tls: ServerTls = request.getfixturevalue("starttls" if mode is TlsMode.STARTTLS else "implicit_tls")
    start: Callable[..., RunningServer] = request.getfixturevalue(kind.fixture)
    server = start(tls=tls, accounts={"shop": "a secret"}, **kind.options)
    config = SmtpConfig(
        host="localhost",
        port=server.port,
        timeouts=PATIENT,
        tls=TlsPolicy(mode, cafile=str(smtp_certs.ca_file)),
        credentials=Credentials("shop", "a secret"),
        wire=in_windows_of(8),
    )
    client = SubmissionClient(config)
    reports = [report for _, report in client.submit_many([Submission(envelope(), mail(n)) for n in range(20)])]
    stats = client.pool.stats()
    client.close()
    assert all(report.all_accepted for report in reports)
    assert stats.opened == 1
    agree(server, reports)


def test_a_session_that_postfix_ended_while_idle(postfix: ServerStarter) -> None:
    """smtpd_timeout 1 s: the 421 that lies in the socket is seen, and the next mail goes over a new session."""
    server = postfix(settings={"smtpd_timeout": "1s"})
    with relay(server) as client:
        first = client.submit(envelope(), mail(1))
        [session] = client.pool._idle
        session.dialogue.stream.wait(read=True, write=False, deadline=Deadline.after(10.0))
        second = client.submit(envelope(), mail(2))
        assert client.pool.stats().opened == 2
        agree(server, [first, second])


def test_exim_s_limit_of_messages_inside_a_window(exim: ServerStarter) -> None:
    """smtp_accept_max_per_connection 5, a window of 8: MAIL gets 421 from the sixth on, and all arrive, once each."""
    server = exim(settings={"smtp_accept_max_per_connection": "5"})
    config = SmtpConfig(host=server.host, port=server.port, timeouts=PATIENT, wire=in_windows_of(8))
    client = SubmissionClient(config, sleep=lambda _: None)
    reports = [report for _, report in client.submit_many([Submission(envelope(), mail(n)) for n in range(16)])]
    client.close()
    assert all(report.all_accepted for report in reports)
    agree(server, reports)


def test_exim_tired_of_refusals(exim: ServerStarter) -> None:
    """smtp_accept_max_nonmail 3: RSET gets 554 and the end; what was behind it is not in doubt, and arrives."""
    server = exim(settings={"smtp_accept_max_nonmail": "3"})
    mixed = [Submission(envelope(f"bad{n}" if n < 6 else f"ann{n}"), mail(n), n) for n in range(12)]
    config = SmtpConfig(
        host=server.host, port=server.port, timeouts=PATIENT, wire=in_windows_of(8), pool=PoolLimits(max_refusals=100)
    )
    client = SubmissionClient(config, sleep=lambda _: None)
    reports = [report for _, report in client.submit_many(mixed)]
    client.close()
    assert [bool(report.accepted) for report in reports] == [n >= 6 for n in range(12)]
    agree(server, reports)


def test_opensmtpd_s_limit_of_messages(opensmtpd: ServerStarter) -> None:
    """452 on MAIL after five mails of a session: a new one, and nothing deferred."""
    server = opensmtpd(max_mails=5)
    with relay(server) as client:
        reports = [client.submit(envelope(), mail(n)) for n in range(12)]
        assert all(report.all_accepted for report in reports)
        agree(server, reports)


def test_a_postfix_that_takes_no_more_errors(postfix: ServerStarter) -> None:
    """421 after hard_error_limit: the refused stay refused, the others arrive over another session."""
    server = postfix(settings={"smtpd_hard_error_limit": "4", "smtpd_soft_error_limit": "4"})
    mixed = [Submission(envelope(f"bad{n}" if n < 6 else f"ann{n}"), mail(n), n) for n in range(12)]
    config = SmtpConfig(host=server.host, port=server.port, timeouts=PATIENT, wire=in_windows_of(8))
    client = SubmissionClient(config, sleep=lambda _: None)
    reports = [report for _, report in client.submit_many(mixed)]
    client.close()
    assert [bool(report.accepted) for report in reports] == [n >= 6 for n in range(12)]
    agree(server, reports)

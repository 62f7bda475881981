"""The threats of an SMTP client, by their numbers in the project's list, each met on the wire at least once.

Many have whole modules elsewhere (addresses, headers, TLS, opening); here stands the essence of each: what an attacker
or a fault would have done to a mail or to somebody's secret, and that it does not happen.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robust_email.smtp import (
    Credentials,
    Envelope,
    InvalidAddress,
    MailData,
    Phase,
    Scope,
    SmtpConfig,
    SubmissionClient,
    Timeouts,
    TlsMode,
    TlsPolicy,
    error_for,
)
from robust_email.smtp.errors import ConfigurationError
from robust_email.smtp.net.memory import MemoryStream
from robust_email.testing import (
    Action,
    At,
    Close,
    Drip,
    EndOfData,
    Extensions,
    Extra,
    Fault,
    Flood,
    Garbage,
    Quirks,
    Reply,
    Script,
    ScriptedServer,
    Stall,
    TakeThenClose,
    parse_wire,
)
from robust_email.testing.certs import Certificate
from tests.submission.relay import AT_ONCE, TRANSPORTS, audit, client_of, config_for, envelope, mail, words

if TYPE_CHECKING:
    from ssl import TLSVersion

    from robust_email.testing.certs import CertificateAuthority

CANARY = "CANARY-PW"
SECRET = Credentials("shop", CANARY)
NUMBERS = [*range(1, 21), 22, 23, *range(26, 30)]
"""Threats that concern the engine."""


def test_every_threat_has_a_test() -> None:
    """S1 to S20, S22, S23 and S26 to S29: each number is in the name of a test of this module."""
    tested = {int(found[1]) for name in globals() if (found := re.match(r"test_s(\d+)_", name))}
    assert tested == set(NUMBERS)


@pytest.mark.parametrize("control", [*map(chr, range(32)), "\x7f"])
def test_s1_control_characters_in_an_address(control: str) -> None:
    """Refused when the envelope is made: there is nothing yet that could be sent."""
    for address in (f"a{control}b@example.org", f"ab@exam{control}ple.org", f"ab@example.org{control}RCPT TO:<x@y.z>"):
        with pytest.raises(InvalidAddress):
            Envelope.of("shop@example.org", [address])
        with pytest.raises(InvalidAddress):
            Envelope.of(address, ["ann@example.org"])


@pytest.mark.parametrize(
    "address",
    ["a@b.org> NOTIFY=NEVER", "a@b.org> ORCPT=rfc822;c@d.org", "a@b.org SIZE=1", "<a@b.org>", "a@b.org>", "a b@c.org"],
)
def test_s2_parameters_in_an_address(address: str) -> None:
    """A space or an angle bracket would begin an ESMTP parameter."""
    with pytest.raises(InvalidAddress):
        Envelope.of("shop@example.org", [address])


@pytest.mark.parametrize("address", ['"x@evil.org y"@b.org', '"a> ORCPT=c"@b.org', '"a b"@c.org', '"a\\\r\nb"@c.org'])
def test_s3_quoted_local_parts(address: str) -> None:
    """No quoted local part reaches a command with what another parser would take for the domain or for a parameter."""
    with pytest.raises(InvalidAddress):
        Envelope.of("shop@example.org", [address])


@pytest.mark.parametrize(
    "address",
    ["alice@example.org)bob@example.org", "a@b.org, c@d.org", "a@b.org (c)", "group: a@b.org;", "a@b@c.org", ""],
)
def test_s4_more_or_less_than_one_mailbox(address: str) -> None:
    """CVE-2023-27043 and its kin: an envelope names exactly one mailbox per recipient."""
    with pytest.raises(InvalidAddress):
        Envelope.of("shop@example.org", [address])


def test_s5_the_envelope_alone_decides_who_gets_it() -> None:
    """Headers name nobody a recipient, and the server is told of those in the envelope and of no others."""
    data = MailData.from_bytes(b"To: mallory@evil.org\r\nCc: eve@evil.org\r\nMessage-ID: <5@example.org>\r\n\r\nhi\r\n")
    with ScriptedServer() as server, client_of(server) as client:
        assert client.submit(envelope("ann", "blind"), data).all_accepted
        [message] = server.accepted
        assert message.forward_paths == ("ann@example.org", "blind@example.org")
        assert b"blind" not in message.data


@pytest.mark.parametrize("raw", [b"Subject: a\rBcc: x@y.org\r\n\r\nhi\r\n", b"Subject: a\nBcc: x@y.org\r\n\r\nhi\r\n"])
def test_s6_line_ends_smuggled_into_a_header(raw: bytes) -> None:
    """A bare CR, or an LF among CRLFs, in the header block is refused and not repaired into a header of its own."""
    with pytest.raises(ValueError, match=r"header|line"):
        MailData.from_bytes(raw)


def test_s7_an_encoded_line_end_stays_encoded() -> None:
    """What an encoded-word hides is not decoded and written anew: the octets that were given are the octets that go."""
    raw = b"Subject: =?utf-8?q?a=0D=0ABcc:_x@y.org?=\r\nMessage-ID: <7@example.org>\r\n\r\nhi\r\n"
    with ScriptedServer() as server, client_of(server) as client:
        assert client.submit(envelope(), MailData.from_bytes(raw)).all_accepted
        assert server.accepted[0].data == raw


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_s8_the_octets_on_the_wire_are_those_of_the_mail(transport: str) -> None:
    """Dots, long lines and all: the same hash at the server, also at a second attempt."""
    raw = mail(8, b".\r\n..x\r\n" + b"y" * 998 + b"\r\n\r\n\r\n").content
    fault = Fault(At.MAIL, Close(), times=1)
    with ScriptedServer(Script(extensions=TRANSPORTS[transport], faults=[fault])) as server:
        with client_of(server, retry=AT_ONCE) as client:
            client.submit(envelope(), MailData.from_bytes(raw))
            assert client.submit(envelope(), MailData.from_bytes(raw)).all_accepted
        wanted = hashlib.sha256(raw).digest()
        assert {hashlib.sha256(message.data).digest() for message in server.accepted} == {wanted}


SMUGGLED = (
    b"hi\n.\nMAIL FROM:<evil@x.org>\nRCPT TO:<b@y.org>\nDATA\nX: y\n\nevil\n.\n",
    b"hi\r.\rMAIL FROM:<evil@x.org>\r",
    b"hi\n.\r\nMAIL FROM:<evil@x.org>\r\n",
    b"hi\r\n.\nMAIL FROM:<evil@x.org>\r\n",
    b"hi\r\n.\rMAIL FROM:<evil@x.org>\r\n",
    b"hi\r.\r\nMAIL FROM:<evil@x.org>\r\n",
    b"hi\r\r\n.\r\r\nMAIL FROM:<evil@x.org>\r\n",
    b".\r\nMAIL FROM:<evil@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\nevil\r\n.\r\n",
)


def one_message_on_the_wire(body: bytes, transport: str, end_of_data: EndOfData) -> None:
    """Submit the body; the server, and a strict and a lenient reading of what it got, must see one message."""
    script = Script(extensions=TRANSPORTS[transport], quirks=Quirks(end_of_data=end_of_data))
    data = MailData.from_bytes(b"Message-ID: <9@example.org>\r\n\r\n" + body)
    with ScriptedServer(script) as server:
        with client_of(server) as client:
            assert client.submit(envelope(), data).all_accepted
        [message] = server.accepted
        received = server.transcript().received
    assert message.message_id == "<9@example.org>"
    assert [seen.reverse_path for seen in parse_wire(received, lenient=False)] == ["shop@example.org"]
    assert [seen.reverse_path for seen in parse_wire(received, lenient=True)] == ["shop@example.org"]


@pytest.mark.parametrize("end_of_data", EndOfData)
@pytest.mark.parametrize("transport", ["pipelined", "chunked"])
@pytest.mark.parametrize("body", SMUGGLED)
def test_s9_a_mail_inside_a_mail(body: bytes, transport: str, end_of_data: EndOfData) -> None:
    """CVE-2023-51764 and its kin: only CRLF ends a line, so strict and lenient servers see the same single mail."""
    one_message_on_the_wire(body, transport, end_of_data)


@settings(max_examples=60)
@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n.\r\n", b"MAIL FROM:<e@x.org>", b"a", b" "]), max_size=30))
def test_s9_any_mixture_of_line_ends_and_dots(parts: list[bytes]) -> None:
    """The same for whatever a generator thinks of."""
    one_message_on_the_wire(b"".join(parts), "pipelined", EndOfData.LENIENT)


def test_s9_nul_is_refused() -> None:
    """Servers disagree about NUL, so there is none."""
    with pytest.raises(ValueError, match="NUL"):
        MailData.from_bytes(b"Subject: x\r\n\r\na\0b\r\n")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("body", [b"", b".", b".\r\n.\r\n", b"no line end", b"x" * 998 + b"\r\n", b"\r\n\r\n\r\n"])
def test_s10_bodies_at_the_edge(body: bytes, transport: str) -> None:
    """Empty, dots alone, without a last line end, as long a line as is allowed: it arrives as it was."""
    data = MailData.from_bytes(b"Message-ID: <10@example.org>\r\n\r\n" + body)
    with ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server, client_of(server) as client:
        assert client.submit(envelope(), data).all_accepted
        assert server.accepted[0].data == data.content


def test_s10_eight_bits_only_where_they_are_taken() -> None:
    """Without 8BITMIME in the offer the text goes as quoted-printable, and not a line is over 998 octets."""
    with pytest.raises(ValueError, match="998"):
        MailData.from_bytes(b"Subject: x\r\n\r\n" + b"x" * 999)
    data = MailData.from_bytes(
        b"Message-ID: <10@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa4\r\n"
    )
    script = Script(extensions=Extensions(eight_bit_mime=False), quirks=Quirks(refuse_undeclared_8bit=True))
    with ScriptedServer(script) as server, client_of(server) as client:
        assert client.submit(envelope(), data).all_accepted
        assert server.accepted[0].data.isascii()


def over_tls(server: ScriptedServer, certs: CertificateAuthority) -> str:
    """Submit one mail with required STARTTLS and a password; return what became of it."""
    tls = TlsPolicy(TlsMode.STARTTLS, cafile=str(certs.ca_file))
    with client_of(server, tls=tls, credentials=SECRET, timeouts=Timeouts.uniform(3.0)) as client:
        return words(client.submit(envelope(), mail()))["ann"]


def test_s11_starttls_stripped(smtp_certs: CertificateAuthority) -> None:
    """Not offered: refused as a matter of configuration, and no password has left."""
    with ScriptedServer(Script(accounts={"shop": CANARY})) as server:
        assert over_tls(server, smtp_certs) == "refused"
        assert "AUTH" not in server.transcript().verbs
        assert server.accepted == []


@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "500 5.5.1 what?", "220 go\n550 ha"])
def test_s12_starttls_refused(reply: str, smtp_certs: CertificateAuthority) -> None:
    """No TLS, no mail: nothing goes on in the clear."""
    fault = Fault(At.STARTTLS, Reply(reply))
    with ScriptedServer(Script(starttls=smtp_certs.server_context(), faults=[fault])) as server:
        assert over_tls(server, smtp_certs) in {"deferred", "refused"}
        assert set(server.transcript().verbs) == {"EHLO", "STARTTLS"}


def test_s13_plaintext_injected_behind_starttls(smtp_certs: CertificateAuthority) -> None:
    """What came in the clear is not believed under TLS: an injected offer leads to nothing."""
    fault = Fault(At.STARTTLS, Reply("220 go\n250-evil.test\n250 AUTH PLAIN"))
    with ScriptedServer(Script(starttls=smtp_certs.server_context(), faults=[fault])) as server:
        assert over_tls(server, smtp_certs) == "deferred"
        assert "AUTH" not in server.transcript().verbs


@pytest.mark.parametrize("certificate", [each for each in Certificate if each is not Certificate.GOOD])
def test_s14_certificates_that_prove_nothing(certificate: Certificate, smtp_certs: CertificateAuthority) -> None:
    """Expired, for elsewhere, unknown authority, common name alone: no mail, no password."""
    script = Script(starttls=smtp_certs.server_context(certificate), accounts={"shop": CANARY})
    with ScriptedServer(script) as server:
        assert over_tls(server, smtp_certs) == "deferred"
        assert CANARY.encode() not in server.transcript().received
        assert server.accepted == []


def test_s15_tls_of_yesterday(smtp_certs: CertificateAuthority) -> None:
    """A server that speaks nothing newer than TLS 1.1 is not spoken to."""
    import ssl

    oldest: TLSVersion = ssl.TLSVersion.TLSv1_1
    with ScriptedServer(Script(starttls=smtp_certs.server_context(maximum=oldest))) as server:
        assert over_tls(server, smtp_certs) == "deferred"
        assert server.accepted == []


def test_s16_a_password_in_the_clear() -> None:
    """To a host that is not this machine, AUTH without TLS is refused before the first octet of it."""
    stream = MemoryStream([b"220 mx\r\n", b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n"], peer="203.0.113.1:25")

    class To:
        """A connector that is connected already."""

        def connect(self, deadline: object = None) -> MemoryStream:
            """Give the stream."""
            return stream

    client = SubmissionClient(SmtpConfig("mx.test", credentials=SECRET), connector=To())  # type: ignore[arg-type]  # a stand-in
    report = client.submit(envelope(), mail())
    assert report.decisive.scope is Scope.CONFIGURATION
    assert stream.written.startswith(b"EHLO ")
    assert stream.written.count(b"\r\n") == 1


@pytest.mark.parametrize("name", ["me.test\r\nMAIL FROM:<x@y.z>", "a b", "", "mü.test", "\0"])
def test_s17_a_name_that_smuggles_commands(name: str) -> None:
    """An EHLO name with a line end in it is refused when the configuration is made."""
    with pytest.raises(ConfigurationError):
        SmtpConfig("mx.test", local_hostname=name)


@pytest.mark.parametrize(
    "action",
    [
        Drip("250 ok", interval=0.05, endless=True),
        Drip("250-", interval=0.05, endless=True),
        Stall(),
        Flood(),
        Garbage(b"2" * 9000),
    ],
)
@pytest.mark.parametrize("at", [At.GREETING, At.EHLO, At.MAIL, At.DATA, At.FINAL])
def test_s18_a_server_that_steals_time_or_memory(at: At, action: Action) -> None:
    """Dripping, silent or endless: over after the phase's time, not after what the server likes."""
    timeouts = Timeouts(opening=1.0, command=0.3, block=0.3, final_reply=0.3)
    script = Script(extensions=TRANSPORTS["pipelined"], faults=[Fault(at, action)])
    with ScriptedServer(script) as server, client_of(server, timeouts=timeouts) as client:
        began = time.monotonic()
        report = client.submit(envelope(), mail())
        assert time.monotonic() - began < 1.5
        server.wait_for(lambda server: bool(server.transcripts))
        assert audit([report], server.accepted) == []
        assert client.pool.stats().idle == 0 or report.all_accepted


def test_s19_a_line_that_nobody_asked_for() -> None:
    """An extra 250 in the pipe is not taken for the answer to the next command: its 550 is seen as one."""
    faults = [Fault(At.FINAL, Extra(), times=1), Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")]
    with (
        ScriptedServer(Script(extensions=TRANSPORTS["stepwise"], faults=faults)) as server,
        client_of(server) as client,
    ):
        reports = [client.submit(envelope("ann"), mail(1)), client.submit(envelope("bad", "bob"), mail(2))]
        assert [words(report) for report in reports] == [{"ann": "accepted"}, {"bad": "refused", "bob": "accepted"}]
        assert audit(reports, server.accepted) == []


def test_s20_the_line_lost_before_the_250() -> None:
    """In doubt, said so, and not submitted again in-process; the Message-ID is the mail's own, so it can be folded."""
    fault = Fault(At.FINAL, TakeThenClose(), times=1)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server, retry=AT_ONCE) as client:
        report = client.submit(envelope(), mail(20))
        assert words(report) == {"ann": "in-doubt"}
        assert server.connections == 1
        again = client.submit(envelope(), mail(20))
        assert again.all_accepted
        assert [message.message_id for message in server.accepted] == ["<20@example.org>"] * 2
        assert server.accepted[0].data == server.accepted[1].data


def test_s22_some_recipients_refused() -> None:
    """Each recipient has his own verdict, and a mail that nobody may have is never offered."""
    fault = Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")
    with (
        ScriptedServer(Script(extensions=TRANSPORTS["stepwise"], faults=[fault])) as server,
        client_of(server) as client,
    ):
        report = client.submit(envelope("ann", "bad", "bob"), mail(1))
        assert words(report) == {"ann": "accepted", "bad": "refused", "bob": "accepted"}
        assert words(client.submit(envelope("bad"), mail(2))) == {"bad": "refused"}
        assert server.commands["DATA"] == 1


@pytest.mark.parametrize(
    ("reply", "expected", "scope"),
    [
        ("450 4.7.1 greylisted", "deferred", Scope.RECIPIENT),
        ("451 4.7.1 later", "deferred", Scope.RECIPIENT),
        ("452 4.5.3 enough", "deferred", Scope.RECIPIENT),
        ("421 4.3.2 bye", "deferred", Scope.SESSION),
        ("550 5.1.1 unknown", "refused", Scope.RECIPIENT),
        ("552 5.2.2 full", "refused", Scope.RECIPIENT),
        ("554 5.7.1 not you", "refused", Scope.RECIPIENT),
        ("530 5.7.0 log in first", "refused", Scope.CONFIGURATION),
        ("550 4.7.1 codes that disagree", "refused", Scope.RECIPIENT),
        ("450 5.1.1 codes that disagree", "deferred", Scope.RECIPIENT),
        ("499 unknown", "deferred", Scope.RECIPIENT),
        ("599 unknown", "refused", Scope.RECIPIENT),
    ],
)
def test_s23_codes_sorted_by_what_they_mean(reply: str, expected: str, scope: Scope) -> None:
    """By the first digit where nobody said more; the enhanced code refines and does not overrule."""
    with ScriptedServer(Script(faults=[Fault(At.RCPT, Reply(reply))])) as server, client_of(server) as client:
        report = client.submit(envelope(), mail())
        assert (words(report)["ann"], report.decisive.scope) == (expected, scope)


@pytest.mark.parametrize("reply", [Reply("421 4.3.2 bye"), Reply("554 5.5.1 no RSET"), Close(), Garbage()])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_s26_a_poisoned_session_in_the_pool(transport: str, reply: Action) -> None:
    """RSET that fails, a 421, an end: the session is dropped, and no verdict is wrong for it."""
    refused = Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")
    script = Script(extensions=TRANSPORTS[transport], faults=[Fault(At.RSET, reply, times=1), refused])
    with ScriptedServer(script) as server, client_of(server) as client:
        first = client.submit(envelope("bad"), mail(1))
        second = client.submit(envelope("ann"), mail(2))
        third = client.submit(envelope("ann"), mail(3))
        assert words(first) == {"bad": "refused"}
        assert words(second)["ann"] in {"accepted", "in-doubt"}
        assert third.all_accepted
        server.wait_for(lambda server: server.transcript(1).closed)
        assert audit([first, second, third], server.accepted) == []


def test_s27_the_server_s_text_is_data(caplog: pytest.LogCaptureFixture) -> None:
    """Escapes, line ends and endless text of the server come out as one bounded printable line, without an address."""
    nasty = "550 5.1.1 \x1b[31mgone\x07 ann@example.org \x9b2J " + "x" * 900
    lines: list[str] = []
    with ScriptedServer(Script(faults=[Fault(At.RCPT, Reply(nasty))])) as server, caplog.at_level(logging.DEBUG):
        client = SubmissionClient(config_for(server), transcript=lambda: lambda _, text: lines.append(text))
        report = client.submit(envelope(), mail())
        client.close()
    for text in (report.decisive.reason, str(error_for(report)), *lines, caplog.text):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
        assert len(text) < 2000
    assert not any("ann@example.org" in line for line in lines)


def test_s28_mailboxes_beyond_ascii() -> None:
    """Without SMTPUTF8 a non-ASCII local part is refused for good before MAIL; a domain becomes its A-label."""
    with ScriptedServer(Script(extensions=Extensions(smtputf8=False))) as server, client_of(server) as client:
        report = client.submit(Envelope.of("shop@example.org", ["grüße@example.org"]), mail(1))
        assert report.decisive.disposition.value == "refused"
        assert "SMTPUTF8" in report.decisive.reason
        assert "MAIL" not in server.transcript().verbs
        assert client.submit(Envelope.of("shop@example.org", ["ann@bücher.example"]), mail(2)).all_accepted
        assert server.accepted[0].forward_paths == ("ann@xn--bcher-kva.example",)


def test_s29_more_than_the_server_takes() -> None:
    """Over SIZE the mail is refused before MAIL, and not an octet of it travels."""
    with ScriptedServer(Script(extensions=Extensions(size=1000))) as server, client_of(server) as client:
        report = client.submit(envelope(), mail(1, b"x" * 70 + b"\r\n" + b"y" * 900 + b"\r\n" * 20))
        assert (words(report)["ann"], report.decisive.phase) == ("refused", Phase.MAIL)
        assert "1000" in report.decisive.reason
        assert "MAIL" not in server.transcript().verbs
        assert client.submit(envelope(), mail(2)).all_accepted

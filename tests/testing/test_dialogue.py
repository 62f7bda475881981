"""The scripted server when it behaves: strict, and right about what it took."""

from __future__ import annotations

import smtplib

import pytest

from robust_email.testing import EndOfData, Extensions, Limits, Quirks, Script, ScriptedServer
from robust_email.testing.assertions import assert_accepted_nothing, assert_accepted_once
from tests.testing.dialogue import CONTENT, GREETING, TRANSACTION, connected, ready


def test_smtplib_hands_over_a_message(smtp_server: ScriptedServer) -> None:
    """The ledger holds envelope, parameters and octets, and the connection's end is noted."""
    with smtplib.SMTP(smtp_server.host, smtp_server.port) as client:
        client.sendmail("a@example.org", ["b@example.org", "c@example.org"], CONTENT + b".dot\r\n", ["BODY=8BITMIME"])
    message = assert_accepted_once(smtp_server, "<1@example.org>")
    assert message.reverse_path == "a@example.org"
    assert message.forward_paths == ("b@example.org", "c@example.org")
    assert message.data == CONTENT + b".dot\r\n"
    assert message.parameters == {"SIZE": str(len(CONTENT) + 6), "BODY": "8BITMIME"}
    smtp_server.wait_for(lambda server: server.transcript().closed)
    assert smtp_server.transcript().verbs == ("EHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT")


def test_ehlo_offers_what_the_script_says() -> None:
    """Each extension is a line, with its value where it has one."""
    extensions = Extensions(size=1000, limits=True, extra=("XCLIENT NAME",))
    with (
        ScriptedServer(Script(extensions=extensions, limits=Limits(messages=5, recipients=7))) as server,
        smtplib.SMTP(server.host, server.port) as client,
    ):
        client.ehlo()
    assert client.esmtp_features["size"] == "1000"
    assert client.esmtp_features["limits"] == "MAILMAX=5 RCPTMAX=7"
    assert client.esmtp_features["xclient"] == "NAME"
    assert {"pipelining", "chunking", "8bitmime", "smtputf8", "enhancedstatuscodes", "dsn"} <= set(
        client.esmtp_features
    )
    assert not {"starttls", "auth"} & set(client.esmtp_features)


def test_what_is_not_offered_is_not_understood() -> None:
    """Without extensions there is no parameter, no BDAT and no enhanced code."""
    with ScriptedServer(Script(extensions=Extensions.none())) as server, ready(server) as wire:
        assert wire.ask(b"MAIL FROM:<a@example.org> SIZE=5") == b"555 Unsupported parameter SIZE\r\n"
        assert wire.ask(b"BDAT 3 LAST").startswith(b"500 ")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"MAIL FROM: <a@example.org>", b"501"),
        (b"MAIL FROM:a@example.org", b"501"),
        (b"MAIL FROM:<a@example.org> SIZE=999999999999", b"552"),
        (b"MAIL FROM:<a@example.org> SIZE=x", b"501"),
        (b"MAIL FROM:<a@example.org> BODY=BINARYMIME", b"501"),
        (b"MAIL FROM:<a@example.org> FOO=BAR", b"555"),
        ("MAIL FROM:<ä@example.org>".encode(), b"553"),
        (b"MAIL FROM:<a@example.org>\0", b"500"),
        (b"MAIL FROM:<a@example.org>\nRCPT TO:<x@example.org>", b"500"),
        (b"RCPT TO:<b@example.org>", b"503"),
        (b"DATA", b"503"),
        (b"RSET now", b"501"),
        (b"AUTH PLAIN", b"503"),
        (b"STARTTLS", b"502"),
        (b"NONSENSE", b"500"),
        (b"MAIL FROM:<>", b"250"),
        (b'MAIL FROM:<"a>b"@example.org>', b"250"),
        ("MAIL FROM:<ä@example.org> SMTPUTF8".encode(), b"250"),
        (b"VRFY b", b"252"),
        (b"HELP", b"214"),
    ],
)
def test_commands_are_judged_strictly(smtp_server: ScriptedServer, command: bytes, code: bytes) -> None:
    """The reply after EHLO is what RFC 5321 and its extensions ask for."""
    with ready(smtp_server) as wire:
        assert wire.ask(command)[:3] == code


def test_mail_needs_ehlo_first(smtp_server: ScriptedServer) -> None:
    """A client that has not said who it is gets 503."""
    with connected(smtp_server) as wire:
        assert wire.reply() == GREETING
        assert wire.ask(b"MAIL FROM:<a@example.org>").startswith(b"503 ")


def test_a_command_line_has_an_end(smtp_server: ScriptedServer) -> None:
    """A line longer than any that is allowed gets 500, and the session goes on."""
    with ready(smtp_server) as wire:
        wire.write(b"x" * 12289)
        assert wire.reply().startswith(b"500 ")
        assert wire.ask(b"NOOP").startswith(b"250 ")


def test_pipelined_transactions_are_answered_in_order(smtp_server: ScriptedServer) -> None:
    """RFC 2920: commands in one segment, replies one by one; the next transaction rides behind the content."""
    with ready(smtp_server) as wire:
        wire.write(TRANSACTION + b"DATA\r\n")
        assert [wire.reply()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        wire.write(CONTENT + b".\r\n" + TRANSACTION + b"DATA\r\n")
        assert [wire.reply()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
    assert len(smtp_server.accepted) == 1


def test_content_before_the_354_is_refused(smtp_server: ScriptedServer) -> None:
    """RFC 2920 3.1: DATA is the last of its group."""
    with ready(smtp_server) as wire:
        wire.write(TRANSACTION + b"DATA\r\n" + CONTENT + b".\r\n")
        assert [wire.reply()[:3] for _ in range(3)] == [b"250", b"250", b"554"]
        assert wire.rest() == b""
    assert_accepted_nothing(smtp_server)


def test_chunks_make_a_message(smtp_server: ScriptedServer) -> None:
    """RFC 3030: each chunk has its reply, the last one takes the message, nothing is unstuffed."""
    with ready(smtp_server) as wire:
        wire.write(TRANSACTION + b"BDAT 4\r\n..a\nBDAT 5 LAST\r\n\r\n.\r\n")
        assert [wire.reply()[:3] for _ in range(4)] == [b"250"] * 4
        wire.write(TRANSACTION + b"BDAT 0 LAST\r\n")
        assert [wire.reply()[:3] for _ in range(3)] == [b"250"] * 3
    assert [message.data for message in smtp_server.accepted] == [b"..a\n\r\n.\r\n", b""]


def test_a_chunk_is_swallowed_whatever_its_reply(smtp_server: ScriptedServer) -> None:
    """The octets of a refused BDAT are no commands."""
    with ready(smtp_server) as wire:
        wire.write(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        assert wire.reply().startswith(b"503 ")
        assert wire.reply().startswith(b"250 ")


def test_a_message_too_large_is_not_taken() -> None:
    """SIZE holds for what came, not only for what was announced."""
    with ScriptedServer(Script(extensions=Extensions(size=20))) as server, ready(server) as wire:
        wire.write(TRANSACTION)
        wire.reply(), wire.reply()
        assert wire.ask(b"DATA").startswith(b"354 ")
        assert wire.ask(CONTENT + b".").startswith(b"552 ")
        wire.write(TRANSACTION + b"BDAT 21 LAST\r\n" + b"x" * 21)
        assert [wire.reply()[:3] for _ in range(3)] == [b"250", b"250", b"552"]
    assert_accepted_nothing(server)


def test_limits_of_a_session() -> None:
    """One recipient too many is 452, one message too many what the script says; a 421 ends the connection."""
    limits = Limits(messages=1, messages_reply="421 4.7.0 enough", recipients=1)
    with ScriptedServer(Script(limits=limits)) as server, ready(server) as wire:
        wire.write(TRANSACTION + b"RCPT TO:<c@example.org>\r\nBDAT 2 LAST\r\n\r\n")
        assert [wire.reply()[:3] for _ in range(4)] == [b"250", b"250", b"452", b"250"]
        assert wire.ask(b"MAIL FROM:<a@example.org>") == b"421 4.7.0 enough\r\n"
        assert wire.rest() == b""


def test_a_client_that_only_makes_conversation_is_sent_away() -> None:
    """Exim's limit on commands that bring no mail."""
    with ScriptedServer(Script(limits=Limits(nonmail=2))) as server, ready(server) as wire:
        assert [wire.ask(b"NOOP")[:3] for _ in range(3)] == [b"250", b"250", b"554"]
        assert wire.rest() == b""


def test_an_idle_session_ends() -> None:
    """The idle limit says 421 and closes."""
    with ScriptedServer(Script(limits=Limits(idle=0.05))) as server, ready(server) as wire:
        assert wire.reply().startswith(b"421 4.4.2 ")
        assert wire.rest() == b""


def test_opensmtpd_refuses_pipelining() -> None:
    """Two commands in a segment get 500 and the end."""
    with ScriptedServer(Script(quirks=Quirks(refuse_pipelining=True))) as server, ready(server) as wire:
        wire.write(TRANSACTION)
        assert wire.reply().startswith(b"500 5.5.1 Invalid command: Pipelining")
        assert wire.rest() == b""


def test_haraka_refuses_what_follows_the_final_dot() -> None:
    """Commands in one segment with the end of data get 503 each; later ones are welcome."""
    with ScriptedServer(Script(quirks=Quirks(refuse_behind_final_dot=True))) as server, ready(server) as wire:
        wire.write(TRANSACTION + b"DATA\r\n")
        wire.reply(), wire.reply(), wire.reply()
        wire.write(CONTENT + b".\r\n" + TRANSACTION)
        assert [wire.reply()[:3] for _ in range(3)] == [b"250", b"503", b"503"]
        assert wire.ask(b"MAIL FROM:<a@example.org>").startswith(b"250 ")


@pytest.mark.parametrize(("keeps", "codes"), [(True, [b"503", b"250", b"250"]), (False, [b"250", b"250", b"250"])])
def test_exim_keeps_the_transaction_of_a_failed_bdat(keeps: bool, codes: list[bytes]) -> None:  # noqa: FBT001 - a row
    """The next message then goes out under the previous one's envelope sender."""
    script = Script(
        quirks=Quirks(keep_transaction_after_failed_bdat=keeps), limits=Limits(recipients=1), accounts={"u": "p"}
    )
    with ScriptedServer(script) as server, ready(server) as wire:
        wire.write(b"MAIL FROM:<first@example.org>\r\nRCPT TO:<>\r\nBDAT 2 LAST\r\n\r\n")
        assert [wire.reply()[:3] for _ in range(3)] == [b"250", b"501", b"554"]
        wire.write(b"MAIL FROM:<second@example.org>\r\nRCPT TO:<b@example.org>\r\nBDAT 2 LAST\r\n\r\n")
        assert [wire.reply()[:3] for _ in range(3)] == codes
    assert server.accepted[0].reverse_path == ("first@example.org" if keeps else "second@example.org")


def test_a_lenient_server_is_smuggled_to_and_a_strict_one_is_not() -> None:
    """The quirk makes the second message that ``parse_wire(lenient=True)`` predicts."""
    smuggling = b"x\n.\nMAIL FROM:<evil@example.org>\nRCPT TO:<v@example.org>\nDATA\nbad\r\n.\r\n"
    counts = {}
    for kind in EndOfData:
        quirks = Quirks(end_of_data=kind, check_synchronisation=False)
        with ScriptedServer(Script(quirks=quirks)) as server, ready(server) as wire:
            wire.write(TRANSACTION + b"DATA\r\n")
            wire.reply(), wire.reply(), wire.reply()
            wire.write(smuggling + b"QUIT\r\n")
            wire.rest()
        counts[kind] = len(server.accepted)
    assert counts == {EndOfData.STRICT: 1, EndOfData.LENIENT: 2}


@pytest.mark.parametrize(
    ("quirks", "content", "code"),
    [
        (Quirks(refuse_bare_newline=True), b"a\nb\r\n", b"550"),
        (Quirks(), b"a\nb\r\n", b"250"),
        (Quirks(refuse_undeclared_8bit=True), b"\xe4\r\n", b"554"),
        (Quirks(), b"\xe4\r\n", b"250"),
    ],
)
def test_content_is_judged_as_the_quirks_say(quirks: Quirks, content: bytes, code: bytes) -> None:
    """Bare newlines and undeclared octets above 127 are refused where the script says so."""
    with ScriptedServer(Script(quirks=quirks)) as server, ready(server) as wire:
        wire.write(TRANSACTION + b"BDAT %d LAST\r\n" % len(content) + content)
        assert [wire.reply()[:3] for _ in range(3)] == [b"250", b"250", code]


def test_data_without_recipients() -> None:
    """554 as usual, or the 354 that RFC 2920 allows, with a 554 for the lone dot."""
    for quirk, codes in ((False, [b"554"]), (True, [b"354", b"554"])):
        script = Script(quirks=Quirks(accept_data_without_recipients=quirk))
        with ScriptedServer(script) as server, ready(server) as wire:
            wire.ask(b"MAIL FROM:<a@example.org>")
            assert [wire.ask(command)[:3] for command in (b"DATA", b".")][: len(codes)] == codes
        assert_accepted_nothing(server)


def test_nothing_is_left_after_close() -> None:
    """Closing ends idle connections at once, and the ledger stays readable."""
    with ScriptedServer() as server, connected(server) as wire:
        assert wire.reply() == GREETING
        server.close()
        assert wire.rest() == b""
    assert server.connections == 1
    assert server.transcript().closed
    with pytest.raises(ConnectionRefusedError), connected(server):
        pass


def test_a_failed_wait_says_what_was_there(smtp_server: ScriptedServer) -> None:
    """The error names connections, messages and commands."""
    with pytest.raises(TimeoutError, match=r"connections=0 accepted=0"):
        smtp_server.wait_for(lambda server: server.connections == 1, timeout=0.0)


def test_a_port_needs_a_started_server() -> None:
    """Asking too early is an error, not a port 0."""
    with pytest.raises(RuntimeError):
        _ = ScriptedServer().port


def test_assertions_tell_none_from_many(smtp_server: ScriptedServer) -> None:
    """The assertion fails for no message and for two, and returns the one."""
    with pytest.raises(AssertionError, match="accepted 0 times"):
        assert_accepted_once(smtp_server, "<1@example.org>")
    with ready(smtp_server) as wire:
        for _ in range(2):
            wire.write(TRANSACTION + b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT)
            wire.reply(), wire.reply(), wire.reply()
    with pytest.raises(AssertionError, match="accepted 2 times"):
        assert_accepted_once(smtp_server, "<1@example.org>")
    with pytest.raises(AssertionError, match="nothing accepted"):
        assert_accepted_nothing(smtp_server)

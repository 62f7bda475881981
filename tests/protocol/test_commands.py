"""Command lines: each function writes one legal line or raises, whatever it is given."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.commands import MAX_AUTH, MAX_AUTH_COMMAND, MAX_COMMAND, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

BUILDERS: list[tuple[str, Callable[[str], bytes]]] = [
    ("ehlo", commands.ehlo),
    ("helo", commands.helo),
    ("mail", lambda text: commands.mail(f"<{text}>")),
    ("mail unbracketed", commands.mail),
    ("rcpt", lambda text: commands.rcpt(f"<{text}>")),
    ("parameter", lambda text: commands.mail("<a@b.test>", text)),
    ("parameter value", lambda text: commands.rcpt("<a@b.test>", f"NOTIFY={text}")),
    ("mechanism", lambda text: commands.auth(text, None)),
]

# What has smuggled commands or parameters through other clients (verification.md, section 4).
SMUGGLED = [
    "a@b.test>\r\nRCPT TO:<evil@x.test",
    "a@b.test\nRSET",
    "a@b.test\rRSET",
    "a@b.test\0",
    "a@b.test\x0bRSET",
    "a@b.test\x1b[2J",
    "a@b.test\x7f",
    "a@b.test> NOTIFY=NEVER",
    "a@b.test> ORCPT=rfc822;x",
    '"x y"@b.test',
    "a@b.test><c@d.test",
    "<a@b.test",
    " a@b.test",
    "a@b.test ",
]


@pytest.mark.parametrize("path", SMUGGLED)
def test_a_path_is_one_path_or_nothing(path: str) -> None:
    """A line end, a control character, a space or a bracket inside a path is refused, not escaped."""
    with pytest.raises(CommandError):
        commands.mail(f"<{path}>")
    with pytest.raises(CommandError):
        commands.rcpt(f"<{path}>")


@pytest.mark.parametrize("name", ["", "a b", "a\r\nRSET", "a\0", "münchen.test", "a\x7f", "\t"])
def test_a_name_at_ehlo_is_one_ascii_word(name: str) -> None:
    """GHSA-vvjj-xcjg-gr5g was a line end in an EHLO name."""
    with pytest.raises(CommandError):
        commands.ehlo(name)
    with pytest.raises(CommandError):
        commands.helo(name)


@pytest.mark.parametrize("parameter", ["", "=", "A=", "A=B=C", "A B", "A=B C", "-A", "A=B\r\nRSET", "A=\x00", "Ä=1"])
def test_a_parameter_is_a_keyword_and_perhaps_a_value(parameter: str) -> None:
    """esmtp-param of RFC 5321 4.1.2, and nothing that could end it."""
    with pytest.raises(CommandError):
        commands.mail("<a@b.test>", parameter)


@pytest.mark.parametrize("build", [build for _, build in BUILDERS], ids=[name for name, _ in BUILDERS])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_whatever_is_given_one_line_comes_out_or_none(build: Callable[[str], bytes], text: str) -> None:
    """One CRLF, at the end; no other control character; within the limit of length."""
    try:
        line = build(text)
    except CommandError:
        return
    assert line.endswith(b"\r\n")
    assert not re.search(rb"[\x00-\x1f\x7f]", line[:-2])
    assert len(line) <= MAX_COMMAND


@given(st.lists(st.text(max_size=30), max_size=4))
def test_a_recipient_line_has_only_the_parameters_it_was_given(parameters: list[str]) -> None:
    """As many words as arguments: none of them becomes two."""
    try:
        line = commands.rcpt("<a@b.test>", *parameters)
    except CommandError:
        return
    assert line.count(b" ") == 1 + len(parameters)


def test_lines_of_a_session() -> None:
    """The common commands, octet by octet."""
    assert commands.ehlo("me.test") == b"EHLO me.test\r\n"
    assert commands.helo("[127.0.0.1]") == b"HELO [127.0.0.1]\r\n"
    assert commands.mail("<>") == b"MAIL FROM:<>\r\n"
    assert commands.mail("<a@b.test>", "SIZE=10", "BODY=8BITMIME") == b"MAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME\r\n"
    assert commands.rcpt("<bücher@b.test>") == "RCPT TO:<bücher@b.test>\r\n".encode()
    assert commands.auth("PLAIN", b"\0u\0p") == b"AUTH PLAIN AHUAcA==\r\n"
    assert commands.auth("LOGIN", None) == b"AUTH LOGIN\r\n"
    assert commands.auth("EXTERNAL", b"") == b"AUTH EXTERNAL =\r\n"
    assert commands.auth_response(b"") == b"\r\n"


def test_a_recipient_is_somebody() -> None:
    """The null path is for senders alone (RFC 5321 4.1.1.3)."""
    with pytest.raises(CommandError, match="empty"):
        commands.rcpt("<>")


@given(st.binary(max_size=200))
def test_any_response_travels_as_base64(response: bytes) -> None:
    """A password may hold any octet; none of them reaches the line as it is."""
    assert base64.b64decode(commands.auth_response(response)) == response


def test_lengths_are_bounded() -> None:
    """Over the limit a command is refused; a response has a longer one (RFC 4954 4)."""
    local = "a" * (MAX_COMMAND - len("MAIL FROM:<@b.test>\r\n"))
    assert len(commands.mail(f"<{local}@b.test>")) == MAX_COMMAND
    with pytest.raises(CommandError, match="exceed"):
        commands.mail(f"<{local}a@b.test>")
    assert len(commands.auth_response(b"x" * 9000)) <= MAX_AUTH
    with pytest.raises(CommandError, match="exceed"):
        commands.auth_response(b"x" * MAX_AUTH)


def test_auth_with_its_initial_response_is_no_longer_than_any_command() -> None:
    """A response that makes AUTH longer than 512 octets stays out (RFC 4954 4); one for no place is refused."""
    fits = b"x" * ((MAX_AUTH_COMMAND - len("AUTH PLAIN \r\n")) // 4 * 3)
    assert len(commands.auth("PLAIN", fits)) <= MAX_AUTH_COMMAND
    assert base64.b64encode(fits) in commands.auth("PLAIN", fits)
    assert commands.auth("PLAIN", fits + b"xxx") == b"AUTH PLAIN\r\n"
    with pytest.raises(CommandError, match="exceed"):
        commands.auth("PLAIN", b"x" * MAX_AUTH)

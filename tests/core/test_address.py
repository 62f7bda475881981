"""Addresses: exactly one mailbox, which can be written into a command; threats S1 to S4 and S28."""

from __future__ import annotations

import re
import traceback
from email.headerregistry import Address, AddressHeader

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from robust_email.smtp.address import (
    ForwardPath,
    InvalidAddress,
    Mailbox,
    ReversePath,
    mailbox_from_header,
    mask,
    parse_mailbox,
)

ACCEPTED = [
    ("alice@example.org", "<alice@example.org>"),
    ("Alice@EXAMPLE.org", "<Alice@EXAMPLE.org>"),
    ("a.b+tag=x/y'z@sub.example.org", "<a.b+tag=x/y'z@sub.example.org>"),
    ("!#$%&'*+-/=?^_`{|}~@example.org", "<!#$%&'*+-/=?^_`{|}~@example.org>"),
    ("webmaster", "<webmaster>"),
    ('"webmaster"', "<webmaster>"),
    ("root@localhost", "<root@localhost>"),
    ("root@web_1.internal", "<root@web_1.internal>"),
    ("a@127.example", "<a@127.example>"),
    ("a@[127.0.0.1]", "<a@[127.0.0.1]>"),
    ("a@[IPv6:2001:db8::1]", "<a@[IPv6:2001:db8::1]>"),
    ('"a..b"@docomo.example', '<"a..b"@docomo.example>'),
    ('"plain"@example.org', "<plain@example.org>"),
    ('"a,b"@example.org', '<"a,b"@example.org>'),
    (r'"a\"b\\c"@example.org', r'<"a\"b\\c"@example.org>'),
    (r'"a\b"@example.org', "<ab@example.org>"),
    ("a@bücher.example", "<a@xn--bcher-kva.example>"),
    ("a@xn--bcher-kva.example", "<a@xn--bcher-kva.example>"),
    ("a@xn--fa-hia.de", "<a@xn--fa-hia.de>"),
    ("a@例え.テスト", "<a@xn--r8jz45g.xn--zckzah>"),
    (
        "a@\u0440\u0430\u0443\u0440\u0430l.example",
        "<a@xn--l-7sba6dbr.example>",
    ),  # a false paypal stays false
    ("a@ex\uff41mple.org", "<a@example.org>"),
    ("a" * 64 + "@example.org", "<" + "a" * 64 + "@example.org>"),
    ("a@" + "b" * 63 + ".org", "<a@" + "b" * 63 + ".org>"),
]

SMUGGLING = [
    "a@b> NOTIFY=NEVER",
    "a@b.com> SIZE=1",
    "a@b> ORCPT=rfc822;x@y",
    "a@b>\r\nRCPT TO:<x@y",
    "a@b\r\nRCPT TO:<x@y>",
    "a@b\n",
    "a@b\r",
    "\na@b",
    "a\0@b",
    "a@b\0",
    "a\x7f@b",
    "a\x1b[31m@b",
    "a\t@b",
    "a\x85@b",
    "a\u2028@b",
    "a\u00a0b@c",
    "a\u200bb@c",
    "a\u202eb@c",
    "a\udc80@b",
    "a@b\udc80",
    "<a@b",
    "a@b>",
    "<a@b>",
    "a<b@c",
    "a@b\uff1e NOTIFY=NEVER",
    "a@b\uff1e\u00a0notify=never",
    "a@exa\uff20mple.com",
    "a@b\uff0fc.example",
    "a@b\u2100.example",
    '"foo@evil.example> ORCPT=x"@ok.example',
    '"x@evil y"@ok.example',
    '"x@evil"@ok.example',
    '"x>y"@ok.example',
    '"x<y"@ok.example',
    '"x y"@ok.example',
    r'"x\ y"@ok.example',
    r'"x\@y"@ok.example',
    '"x\r\ny"@ok.example',
    '"x\\\ny"@ok.example',
    '""@ok.example',
    '"x"y@ok.example',
    'x"y"@ok.example',
]

NOT_ONE_MAILBOX = [
    "",
    " ",
    "@",
    "@b",
    "a@",
    '"x"@',
    "a@@b",
    "a@b@c",
    "a@b,c@d",
    "a@b, c@d",
    "a@b;c@d",
    "a@b c@d",
    " a@b",
    "a@b ",
    "a b@c",
    ".a@b",
    "a.@b",
    "a..b@c",
    "a@.b",
    "a@b.",
    "a@b..c",
    "a@-b",
    "a@b-",
    "a@b/c",
    "a@b:25",
    "a@(comment)b",
    "a(comment)@b",
    "a@b(comment)",
    "alice@example.org)bob@example.org",
    "alice@example.org(bob@example.org",
    "alice@example.org<bob@example.org",
    "alice@example.org>bob@example.org",
    "alice@example.org[bob@example.org",
    "alice@example.org]bob@example.org",
    "alice@example.org:bob@example.org",
    "alice@example.org\\bob@example.org",
    'alice@example.org"bob@example.org',
    "group: a@b;",
    "group:;",
    "@relay:a@b",
    "a@[127.0.0.1",
    "a@[127.0.0.256]",
    "a@[]",
    "a@[IPv6:fe80::1%eth0]",
    "a@[IPv6:1.2.3.4]",
    "a@[tag:content]",
    "a@[127.0.0.1].org",
    "a" * 65 + "@b",
    "é" * 33 + "@b",
    '"' + "," * 63 + '"@b',
    "a@" + "b" * 64,
    "a@" + "é" * 60,
    "a@" + "b." * 127 + "bb",
    "a" * 64 + "@" + ".".join(["b" * 60] * 4),
    "a@" + "é" * 100_000,
    "a@faß.de",
    "a@FAẞ.de",
    "a@βόλος.gr",
    "a@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example",
]


@pytest.mark.parametrize(("text", "path"), ACCEPTED)
def test_legal_mailboxes_become_paths(text: str, path: str) -> None:
    """A legal mailbox is written between brackets, its domain as A-labels, quoted only where needed."""
    mailbox = parse_mailbox(text)
    assert mailbox.to_path(smtputf8=False) == path
    assert mailbox.to_path(smtputf8=True) == path
    assert parse_mailbox(str(mailbox)) == mailbox


@pytest.mark.parametrize("text", SMUGGLING + NOT_ONE_MAILBOX)
def test_everything_else_is_refused(text: str) -> None:
    """S1 to S4: what could add a command, a parameter or a second address is refused, and never echoed raw."""
    with pytest.raises(InvalidAddress, match=r"^Invalid address") as caught:
        parse_mailbox(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("local_part", "domain"),
    [
        ("a", "b> NOTIFY=NEVER"),
        ("a\r\n", "b"),
        ("a@b", "c"),
        ("", "b"),
        ("a", "b\r\nDATA"),
        ("a", "[127.0.0.1]>"),
        ("a" * 65, "b"),
        ("a", "b@c"),
        ("", ""),
    ],
)
def test_no_mailbox_can_be_made_around_the_parser(local_part: str, domain: str) -> None:
    """A ``Mailbox`` built from parts obeys the same rules as a parsed one."""
    with pytest.raises(InvalidAddress):
        Mailbox(local_part, domain)


@given(st.text(max_size=40))
@example("a@b\uff1e\u00a0x")
@example("\ud800@b")
def test_whatever_parses_is_safe_on_the_wire(text: str) -> None:
    """No text leads to a path with a bracket, space or control inside, or with two domains."""
    try:
        path = parse_mailbox(text).to_path(smtputf8=True)
    except InvalidAddress:
        return
    assert re.fullmatch(r"<[^<>\s\x00-\x1f\x7f]+>", path)
    assert path.count("@") == ("@" in text)
    path.encode()


local_atoms = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~é猫", min_size=1, max_size=12)
labels = st.from_regex(r"\A[A-Za-z0-9](?:[A-Za-z0-9-]{0,10}[A-Za-z0-9])?\Z")


@given(st.lists(local_atoms, min_size=1, max_size=4), st.lists(labels, min_size=1, max_size=4))
def test_dot_strings_and_host_names_survive(atoms: list[str], domain_labels: list[str]) -> None:
    """Each dot-string at each host name parses, and comes back as it was typed."""
    local_part, domain = ".".join(atoms), ".".join(domain_labels)
    mailbox = parse_mailbox(f"{local_part}@{domain}")
    assert (mailbox.local_part, mailbox.domain) == (local_part, domain)
    assert mailbox.to_path(smtputf8=True) == f"<{local_part}@{domain}>"


@given(st.text('ab,;:()[]\\".!', min_size=1, max_size=20))
def test_quoted_local_parts_survive(local_part: str) -> None:
    """A local part with specials is quoted so that parsing gives it back."""
    mailbox = Mailbox(local_part, "example.org")
    assert parse_mailbox(str(mailbox)) == mailbox


def prepared_by_django(text: str) -> str | None:
    """Return what Django 6.1's ``prep_address`` makes of it; its rule is written out, since 5.2 has another."""
    try:
        parsed = AddressHeader.value_parser(text)
    except Exception:  # noqa: BLE001 - the stdlib parser fails in many ways on garbage; that is a refusal too
        return None
    defects = {str(defect) for defect in parsed.all_defects} - {"addr-spec local part with no domain"}
    if defects or len(parsed.all_mailboxes) != 1:
        return None
    mailbox = parsed.all_mailboxes[0]
    if mailbox.domain and not mailbox.domain.isascii():
        try:
            domain = mailbox.domain.encode("idna").decode()
        except UnicodeError:
            return None
        return str(Address(username=mailbox.local_part, domain=domain))
    return str(mailbox.addr_spec)


@given(st.text('ab.@<>"\\ (),:;éß猫-_[]\uff1e', max_size=16))
@example("a@bücher.example")
@example("a@xn--bcher-kva.example")
@example('"a"@b')
@example('"a,b" <x@y>')
def test_same_bytes_as_django_where_both_accept(text: str) -> None:
    """What Django 6.1 and we both accept is the same octets in MAIL and RCPT."""
    try:
        ours = parse_mailbox(mailbox_from_header(text)).addr_spec(smtputf8=False)
    except InvalidAddress:
        return
    theirs = prepared_by_django(text)
    assert theirs is None or theirs == ours


def test_non_ascii_local_part_needs_smtputf8() -> None:
    """S28: without SMTPUTF8 a local part beyond ASCII is refused, never sent encoded in some other way."""
    mailbox = parse_mailbox("josé@bücher.example")
    assert mailbox.needs_smtputf8
    assert mailbox.to_path(smtputf8=True) == "<josé@xn--bcher-kva.example>"
    with pytest.raises(InvalidAddress, match="SMTPUTF8"):
        mailbox.to_path(smtputf8=False)


def test_non_ascii_domain_needs_no_extension() -> None:
    """S28: a domain beyond ASCII has an A-label, so no extension is asked for."""
    assert not parse_mailbox("a@bücher.example").needs_smtputf8


def test_identity_ignores_case_of_the_domain_alone() -> None:
    """Two spellings of a domain are one mailbox; two of a local part are not (RFC 5321 2.4)."""
    assert parse_mailbox("a@BÜCHER.example").identity == parse_mailbox("a@xn--bcher-kva.EXAMPLE").identity
    assert parse_mailbox("A@b").identity != parse_mailbox("a@b").identity


@pytest.mark.parametrize("text", ["", "<>"])
def test_reverse_path_may_be_null(text: str) -> None:
    """A report is sent from nowhere: ``<>`` (RFC 5321 4.5.5)."""
    path = ReversePath.of(text)
    assert (path.to_path(smtputf8=False), str(path), path.needs_smtputf8) == ("<>", "", False)


def test_reverse_path_of_a_mailbox() -> None:
    """A reverse path is otherwise a mailbox."""
    path = ReversePath.of("josé@b.example")
    assert (path.to_path(smtputf8=True), str(path), path.needs_smtputf8) == ("<josé@b.example>", "josé@b.example", True)


@pytest.mark.parametrize("text", ["", "<>"])
def test_forward_path_is_never_null(text: str) -> None:
    """Nobody can be a recipient without a mailbox."""
    with pytest.raises(InvalidAddress):
        ForwardPath.of(text)


def test_forward_path_of_a_mailbox() -> None:
    """A forward path is a mailbox."""
    path = ForwardPath.of("a@b.example")
    assert (path.to_path(smtputf8=False), str(path), path.needs_smtputf8) == ("<a@b.example>", "a@b.example", False)


@pytest.mark.parametrize(
    ("text", "addr_spec"),
    [
        ("a@b", "a@b"),
        (" a@b\t", "a@b"),
        ("<a@b>", "a@b"),
        ("Alice <a@b>", "a@b"),
        ("Alice<a@b> ", "a@b"),
        ("Acme Inc. <a@b>", "a@b"),
        ('"Last, First" <a@b>', "a@b"),
        (r'"A \"x\" <y@z>" <a@b>', "a@b"),
        ("=?utf-8?q?J=C3=B6rg?= <a@b>", "a@b"),
        ("Jörg Müller <a@bücher.example>", "a@bücher.example"),
        ('"a,b"@c', '"a,b"@c'),
        ("webmaster", "webmaster"),
    ],
)
def test_header_form_gives_its_addr_spec(text: str, addr_spec: str) -> None:
    """Each form that applications hand to Django gives the address, as typed."""
    assert mailbox_from_header(text) == addr_spec


@pytest.mark.parametrize(
    "text",
    [
        *(text for text in SMUGGLING if text != "<a@b>"),
        "",
        "Alice B",
        "Alice <>",
        "a@b, c@d",
        "A <a@b>, C <c@d>",
        "A <a@b> C <c@d>",
        "a@b <c@d>",
        "Last, First <a@b>",
        "group: a@b;",
        "group: A <a@b>;",
        "A (comment) <a@b>",
        "a@b (comment)",
        "<@relay:a@b>",
        "A <a@b> NOTIFY=NEVER",
        "A <a@b",
        "A <<a@b>>",
        '"A <a@b>',
        'A" <a@b>',
        "A\r\nBcc: x@y <a@b>",
        "A\nB <a@b>",
        "A\x00 <a@b>",
        "alice@example.org)bob@example.org",
        "alice@example.org <bob@example.org>",
        '"Alice" <alice@example.org> <bob@example.org>',
        "A [x] <a@b>",
    ],
)
def test_header_form_is_exactly_one_mailbox(text: str) -> None:
    """S4: comments, groups, routes and second addresses are refused (CVE-2023-27043)."""
    with pytest.raises(InvalidAddress, match=r"^Invalid address") as caught:
        mailbox_from_header(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("alice@example.org", "a***@e***.org"),
        ("Alice <alice@example.org>", "a***@e***.org"),
        ("alice@[127.0.0.1]", "a***@[***"),
        ("webmaster", "w***"),
        ("", "***"),
        ("@", "***@***"),
        ("a@b> NOTIFY=NEVER", "a***@b***"),
        ("\x1b[31m@\r\nx.org", r"\x1b***@\r***.org"),
        ("\u202ea@b.org\n", r"\u202e***@b***"),
    ],
)
def test_mask_shows_little_and_escapes(text: str, masked: str) -> None:
    """A log line shows initials and the top-level domain, and no character that a terminal obeys."""
    assert mask(text) == masked


@given(st.text())
def test_mask_never_raises(text: str) -> None:
    """Whatever the text, the mask is short and printable."""
    masked = mask(text)
    assert masked.isprintable()
    assert len(masked) < 60


def test_no_whole_address_leaks() -> None:
    """Neither ``repr`` nor the text or trace of an error shows a whole address."""
    mailbox = parse_mailbox("alice.secret@example.org")
    assert "secret" not in repr((mailbox, ReversePath(mailbox), ForwardPath(mailbox)))
    with pytest.raises(InvalidAddress) as caught:
        parse_mailbox("alice.secret@exam ple.org")
    assert "secret" not in "".join(traceback.format_exception_only(caught.value))
    with pytest.raises(InvalidAddress) as caught:
        parse_mailbox("alice.secret@" + "é" * 70)
    assert "secret" not in str(caught.value)

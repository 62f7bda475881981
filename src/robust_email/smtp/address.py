"""Mailboxes and paths (RFC 5321 section 4.1.2, RFC 6531 section 3.3): what may stand between ``<`` and ``>``.

A ``Mailbox`` that exists is one that can be written into a command: every rule is checked when it is made, so no
later code has to think of injected line ends, of ESMTP parameters (``a@b> NOTIFY=NEVER``), or of one address that
two parsers read as two. The grammar is RFC 5321's, narrower in these points:

* A quoted local part may not hold ``@``, ``<``, ``>``, a space or a control character, and is never empty. Such
  mailboxes are legal, and no one has one, while software that splits at the wrong ``@`` exists (nodemailer,
  GHSA-mm7p-fcc7-pg87).
* Invisible characters (control, format, Unicode spaces) are refused: two addresses must not look like one.
* A non-ASCII domain must be the same under IDNA 2003 and IDNA 2008. ``faß.de`` is not: one standard makes it
  ``fass.de``, the other ``xn--fa-hia.de``, two domains of two owners. Write the A-label to say which is meant.
* Of the address literals only IPv4 and IPv6 are known.

and wider in two: a domain may be missing (Django allows ``webmaster``), and ``_`` may stand where a letter may
(container networks name hosts so).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_LOCAL_PART: Final = 64
"""Octets, as on the wire (RFC 5321 4.5.3.1.1)."""
MAX_DOMAIN: Final = 255
"""Octets, as on the wire (RFC 5321 4.5.3.1.2)."""
MAX_PATH: Final = 256
"""Octets, the angle brackets included (RFC 5321 4.5.3.1.3)."""
CACHED_ADDRESSES: Final = 4096
"""How many parsed addresses are remembered: senders repeat in every mail, recipients in bursts."""

_DOT_STRING = re.compile(r"[\w!#$%&'*+/=?^`{|}~\-\x80-\U0010ffff]+(?:\.[\w!#$%&'*+/=?^`{|}~\-\x80-\U0010ffff]+)*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(?:@(.*))?', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_QUOTED_PAIR = re.compile(r'(["\\])')
_HOST_NAME = re.compile(r"(?:{label}\.)*{label}".format(label=r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"))
_NAME_ADDR = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"(),:;<>@\[\]\\])*<([^<>]*)>[ \t]*')
_TOP_LEVEL_LABEL = re.compile(r"[A-Za-z0-9-]{2,24}")
_ADDRESS_IN_TEXT: Final = re.compile(r"[^\s<>@,;:\"'()]+@[^\s<>@,;:\"'()]+")

_FORBIDDEN_IN_LOCAL_PART = frozenset("@<> ")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
_IDNA_DEVIATIONS = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")  # sharp s (both cases), final sigma, the two joiners


class InvalidAddress(ValueError):
    """The text is not exactly one mailbox that can be written into a command.

    ``str()`` begins with "Invalid address" as Django's does, and holds the address masked.
    """


def mask(address: str) -> str:
    """Return ``a***@d***.tld``: enough to recognise an address in a log, too little to write to it.

    Never raises, whatever the text; characters that a terminal or a log reader would obey are escaped.
    """
    local_part, at, domain = address.rpartition("<")[2].rstrip("> ").rpartition("@")
    if not at:
        return f"{_initial(domain)}***"
    _, dot, top_level = domain.rpartition(".")
    tail = dot + top_level if dot and _TOP_LEVEL_LABEL.fullmatch(top_level) else ""
    return f"{_initial(local_part)}***@{_initial(domain)}***{tail}"


def masked(text: str) -> str:
    """Return ``text`` with each address in it shortened as by ``mask``."""
    return _ADDRESS_IN_TEXT.sub(lambda match: mask(match[0]), text)


def _initial(text: str) -> str:
    first = text[:1]
    return first if first.isprintable() else first.encode("unicode_escape").decode("ascii")


@dataclass(frozen=True, slots=True, repr=False)
class Mailbox:
    """One mailbox, as it was typed.

    ``local_part`` is without quotes and quoted-pairs: ``"a,b"@x.org`` has ``a,b``. ``domain`` is as typed (A-label,
    U-label or ``[literal]``), or empty for a mailbox of the server's own host such as ``webmaster``.

    Raises:
        InvalidAddress: a rule of this module is broken; no such ``Mailbox`` can exist.
    """

    local_part: str
    domain: str = ""

    def __post_init__(self) -> None:
        """Check every rule but the one that depends on the server: SMTPUTF8."""
        if fault := _fault_of_local_part(self.local_part):
            raise _invalid(str(self), fault)
        local_part, domain = _quote(self.local_part), _to_ascii_domain(self.domain)
        if _octets(local_part) > MAX_LOCAL_PART:
            raise _invalid(str(self), f"the local part is longer than {MAX_LOCAL_PART} octets")
        if len(domain) > MAX_DOMAIN or _octets(f"<{local_part}@{domain}>") > MAX_PATH:
            raise _invalid(str(self), f"it is longer than {MAX_PATH} octets")

    def __str__(self) -> str:
        """The addr-spec as typed; quoted only where the grammar asks for it (RFC 5321 4.1.2, last paragraph)."""
        return _join(_quote(self.local_part), self.domain)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({mask(str(self))!r})"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the local part is beyond ASCII: no encoding exists for it, the server must offer SMTPUTF8."""
        return not self.local_part.isascii()

    @property
    def ascii_domain(self) -> str:
        """The domain with A-labels (RFC 5890 2.3.2.1); the form for DNS and for the wire."""
        return _to_ascii_domain(self.domain)

    @property
    def identity(self) -> tuple[str, str]:
        """What two spellings of one mailbox share: only the domain is case-insensitive (RFC 5321 2.4)."""
        return self.local_part, self.ascii_domain.lower()

    def addr_spec(self, *, smtputf8: bool) -> str:
        """Return the address for the wire, without brackets; the domain always as A-labels.

        Raises:
            InvalidAddress: the local part is beyond ASCII and ``smtputf8`` is false.
        """
        if self.needs_smtputf8 and not smtputf8:
            raise _invalid(str(self), "its local part is not ASCII, and the server does not offer SMTPUTF8")
        return _join(_quote(self.local_part), self.ascii_domain)

    def to_path(self, *, smtputf8: bool) -> str:
        """Return ``<addr-spec>``, brackets included: RFC 5321's Path. Raises as ``addr_spec`` does."""
        return f"<{self.addr_spec(smtputf8=smtputf8)}>"


@dataclass(frozen=True, slots=True)
class ReversePath:
    """Where reports of failure go (MAIL FROM). ``ReversePath(None)`` is ``<>``: nowhere (RFC 5321 4.5.5)."""

    mailbox: Mailbox | None

    @classmethod
    def of(cls, text: str) -> ReversePath:
        """Parse an addr-spec; an empty text and ``<>`` are the null path. Raises InvalidAddress."""
        return cls(None if text in {"", "<>"} else parse_mailbox(text))

    def __str__(self) -> str:
        """The addr-spec as typed, empty for the null path."""
        return str(self.mailbox or "")

    @property
    def needs_smtputf8(self) -> bool:
        """As the mailbox's."""
        return self.mailbox is not None and self.mailbox.needs_smtputf8

    def to_path(self, *, smtputf8: bool) -> str:
        """Return ``<addr-spec>`` or ``<>``. Raises as ``Mailbox.addr_spec`` does."""
        return self.mailbox.to_path(smtputf8=smtputf8) if self.mailbox else "<>"


@dataclass(frozen=True, slots=True)
class ForwardPath:
    """One recipient (RCPT TO). There is no null forward path."""

    mailbox: Mailbox

    @classmethod
    def of(cls, text: str) -> ForwardPath:
        """Parse an addr-spec. Raises InvalidAddress."""
        return cls(parse_mailbox(text))

    def __str__(self) -> str:
        """The addr-spec as typed."""
        return str(self.mailbox)

    @property
    def needs_smtputf8(self) -> bool:
        """As the mailbox's."""
        return self.mailbox.needs_smtputf8

    def to_path(self, *, smtputf8: bool) -> str:
        """Return ``<addr-spec>``. Raises as ``Mailbox.addr_spec`` does."""
        return self.mailbox.to_path(smtputf8=smtputf8)


@lru_cache(maxsize=CACHED_ADDRESSES)
def parse_mailbox(text: str) -> Mailbox:
    """Parse an addr-spec and nothing else: no display name, comment, group, route, space or second address.

    Raises:
        InvalidAddress: the text is anything else, or longer than RFC 5321 4.5.3.1 allows.
    """
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if not quoted:
            raise _invalid(text, "the quoted local part does not end, or something follows it")
        local_part, domain = _QUOTED_PAIR.sub(r"\1", quoted[1]), quoted[2]
    else:
        local_part, at, rest = text.partition("@")
        if not _DOT_STRING.fullmatch(local_part):
            raise _invalid(text, "the local part is empty or holds a character that it may not")
        domain = rest if at else None
    if domain == "":
        raise _invalid(text, "nothing follows the @")
    return Mailbox(local_part, domain or "")


def mailbox_from_header(text: str) -> str:
    """Return the addr-spec of ``a@b``, ``<a@b>``, ``Name <a@b>`` or ``"Last, First" <a@b>``, as typed.

    This is the form in which applications hand addresses to Django. Comments, groups, routes and a second address
    are refused: mail software disagrees on where they end (CVE-2023-27043).

    Raises:
        InvalidAddress: the text is not exactly one mailbox.
    """
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text if char != "\t"):
        raise _invalid(text, "control characters and line ends are not allowed")
    name_addr = _NAME_ADDR.fullmatch(text)
    addr_spec = name_addr[1] if name_addr else text.strip(" \t")
    parse_mailbox(addr_spec)
    return addr_spec


def _invalid(address: str, reason: str) -> InvalidAddress:
    return InvalidAddress(f"Invalid address {mask(address)}: {reason}")


def _fault_of_local_part(local_part: str) -> str | None:
    if not local_part:
        return "the local part is empty"
    if _FORBIDDEN_IN_LOCAL_PART.intersection(local_part):
        return "its local part holds one of @ < > and space"
    if any(unicodedata.category(char) in _INVISIBLE for char in local_part):
        return "its local part holds a control or invisible character"
    return None


def _quote(local_part: str) -> str:
    if _DOT_STRING.fullmatch(local_part):
        return local_part
    return '"{}"'.format(_NEEDS_QUOTED_PAIR.sub(r"\\\1", local_part))


def _join(local_part: str, domain: str) -> str:
    return f"{local_part}@{domain}" if domain else local_part


def _octets(text: str) -> int:
    return len(text.encode())


@lru_cache(maxsize=CACHED_ADDRESSES)
def _to_ascii_domain(domain: str) -> str:
    address = f"@{domain}"
    if domain.startswith("[") or not domain:
        if domain and not _is_address_literal(domain):
            raise _invalid(address, "the address literal is neither [IPv4] nor [IPv6:...]")
        return domain
    if _IDNA_DEVIATIONS.intersection(domain):
        raise _invalid(address, "IDNA 2003 and 2008 disagree on its domain; write the A-label (xn--...)")
    if len(domain) > MAX_DOMAIN:  # before the codec, whose time grows with the square of the length
        raise _invalid(address, f"the domain is longer than {MAX_DOMAIN} octets")
    try:
        ascii_domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise _invalid(address, "its domain has no A-label form") from error
    # After IDNA, not before: nameprep turns U+FF1E into ">" and U+00A0 into a space.
    if not _HOST_NAME.fullmatch(ascii_domain):
        raise _invalid(address, "the domain is not a host name")
    return ascii_domain


def _is_address_literal(text: str) -> bool:
    content = text[1:-1]
    if not text.endswith("]") or "%" in content:
        return False
    try:
        if content[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(content[5:])
        else:
            ipaddress.IPv4Address(content)
    except ValueError:
        return False
    return True

"""Serialise a Django ``EmailMessage``: the octets of Django's own SMTP backend, for less CPU time, and checked.

**Cheap.** Four things cost most, and each is avoided by what Python's ``email`` package offers for it, without
touching the package itself:

* its header registry builds a new class for every header that is set: ours keeps the classes, and the parsed and
  folded form of headers that come again (``From``, ``MIME-Version``, ``Content-Type``);
* the legacy policy (Django 5.2) takes each header for one that must be folded: ours writes a short plain one down;
* its generator writes a body line by line: ours writes it in one piece;
* it looks for the boundary in the finished parts with a regular expression: ours looks for the plain octets.

The generator's methods that are overridden here begin with an underscore. Should a later Python rename one, the stock
method runs instead: slower, with the same octets. ``tests/djangoglue/test_rendering.py`` compares them with Django's.

**Checked.** Python 3.11.7 and 3.12.1 turn ``=?utf-8?q?a=0ABcc:_x?=`` in a subject into a line end and a ``Bcc`` field,
and every version writes a header *name* with a line end as it is. So each folded header, of each part, must be one
header and no more (RFC 5322 2.2.3). The stock check for this came with Python 3.13, to the text generator alone.
"""

from __future__ import annotations

import email.policy
import re
from email.generator import BytesGenerator
from email.headerregistry import BaseHeader, HeaderRegistry
from email.message import Message
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from robust_email import _compat
from robust_email.smtp.headers import HeaderInjection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.mail import EmailMessage

CACHED_HEADERS: Final = 512
"""How many parsed headers are remembered; each is some kilobytes of parse tree."""
LONGEST_CACHED_HEADER: Final = 256
"""Characters. Longer values, such as a hundred recipients, seldom repeat and are large: parsed each time."""

_NEVER_REPEATED: Final = frozenset({"date", "message-id"})
_PLAIN_NAME = re.compile(r"[!-9;-~]+")
_PLAIN_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""Printable ASCII with nothing at its ends that folding would strip."""
_NEW_LINE_OF_HEADERS = re.compile(rb"\n(?![ \t])|\r(?!\n)")


class Serialised(NamedTuple):
    """A message as octets.

    ``header_names`` are those of its header block, in order. They are None where the application serialises by
    itself and may well add headers to the tree, such as a DKIM signature.
    """

    octets: bytes
    header_names: Sequence[str] | None


def render(message: EmailMessage) -> bytes:
    """Return the octets that the running Django's SMTP backend would pass to smtplib.

    Raises:
        HeaderInjection: a header would have become two, or ended the header block.
        ValueError: Django itself refuses the message.
    """
    return serialise(_compat.mime_tree(message, POLICY)).octets


def serialise(tree: Message) -> Serialised:
    """Serialise what ``message()`` returned. Raises ``HeaderInjection``; see ``render``."""
    if _compat.has_stock_as_bytes(tree):
        return _generate(tree)
    if isinstance(tree, Message):
        _generate(tree)  # for its checks: what the application starts from must be clean
    return Serialised(_compat.stock_bytes(tree), header_names=None)


def _generate(tree: Message) -> Serialised:
    octets = BytesIO()
    generator = _Generator(octets, mangle_from_=False)
    generator.flatten(tree, linesep=_compat.line_separator())
    # A tree may bring its own `_write_headers`, which the stock generator calls as well; then no name was seen.
    return Serialised(octets.getvalue(), generator.header_names or tree.keys())


class _Generator(BytesGenerator):
    """Python's generator, its slow steps replaced, each header checked. Parts are written by clones of it."""

    # The stock flatten() sets these before anything is written.
    _fp: BytesIO
    _NL: str
    _encoded_NL: bytes  # noqa: N815 - the stock generator's name

    def __init__(self, outfp: BytesIO, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as clone() passes them on
        super().__init__(outfp, *args, **kwargs)
        self.header_names: list[str] = []

    def _write_lines(self, lines: str) -> None:
        if "\r" in lines:
            lines = lines.replace("\r\n", "\n").replace("\r", "\n")
        self.write(lines.replace("\n", self._NL))

    def _write_headers(self, msg: Message) -> None:
        policy = self.policy or msg.policy
        is_legacy, longest = type(policy) is email.policy.Compat32, policy.max_line_length or 0
        for name, value in msg.raw_items():
            if is_legacy and len(name) + len(value) <= longest - 2 and _is_plain(name, value):
                folded = f"{name}: {value}{self._NL}".encode("ascii")
            else:
                folded = policy.fold_binary(name, value)
                self._refuse_second_header(name, folded)
            self.header_names.append(name)
            self._fp.write(folded)
        self.write(self._NL)

    def _refuse_second_header(self, name: str, folded: bytes) -> None:
        line_end = self._encoded_NL
        if not folded.endswith(line_end) or _NEW_LINE_OF_HEADERS.search(folded, 0, len(folded) - len(line_end)):
            raise HeaderInjection(f"The header {name[:60]!a} holds a line end, which would begin another header.")

    @classmethod
    def _make_boundary(cls, text: bytes | None = None) -> str:
        # Not `super()._make_boundary(text)`: its expression ends in "$", which never matches before CRLF.
        boundary: str = super()._make_boundary()  # type: ignore[misc]  # the stubs leave out what is private
        while text is not None and f"--{boundary}".encode("ascii") in text:
            boundary = super()._make_boundary()  # type: ignore[misc]  # the same
        return boundary


def _is_plain(name: str, value: object) -> bool:
    """Tell whether a header that fits its line is written as it stands."""
    return type(value) is str and _PLAIN_VALUE.fullmatch(value) is not None and _PLAIN_NAME.fullmatch(name) is not None


class _Header(BaseHeader):
    """A header that remembers how it was folded. Headers do not change, so that messages may share them."""

    def fold(self, *, policy: email.policy.Policy) -> str:
        # All that the stock fold() reads from a policy.
        key = (policy.max_line_length, policy.linesep, policy.cte_type, getattr(policy, "utf8", False))
        folded: dict[tuple[object, ...], str] = self.__dict__.setdefault("_folded", {})
        try:
            return folded[key]
        except KeyError:
            return folded.setdefault(key, super().fold(policy=policy))


class _HeaderRegistry(HeaderRegistry):
    """Python's registry, which makes each class once, and a header that comes again once."""

    def __init__(self) -> None:
        super().__init__(base_class=_Header)
        self._classes: dict[object, type[BaseHeader]] = {}
        self._remembered = lru_cache(CACHED_HEADERS)(self._parse)

    def __getitem__(self, name: str) -> type[BaseHeader]:
        # By parser, not by name: applications invent names without end.
        parser = self.registry.get(name.lower(), self.default_class)
        try:
            return self._classes[parser]
        except KeyError:
            return self._classes.setdefault(parser, super().__getitem__(name))

    def __call__(self, name: str, value: object) -> BaseHeader:
        if isinstance(value, str) and len(value) <= LONGEST_CACHED_HEADER and name.lower() not in _NEVER_REPEATED:
            return self._remembered(name, value)
        return self._parse(name, value)

    def _parse(self, name: str, value: object) -> BaseHeader:
        return self[name](name, value)


POLICY: Final = email.policy.SMTP.clone(header_factory=_HeaderRegistry())
"""``email.policy.SMTP`` with the cheap registry; for ``EmailMessage.message(policy=...)``, Django >= 6.0."""

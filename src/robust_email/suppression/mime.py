"""The little of MIME that reports are made of (RFC 2045, RFC 2046), read so that no octets can make it fail.

The standard library's parser goes as deep as a message says; this one goes ``MAX_DEPTH`` multiparts deep, never into
an attached message, and its work and its memory are linear in the octets.
"""

from __future__ import annotations

import base64
import binascii
import io
import quopri
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 3
"""Multiparts inside each other: a report, inside what a gateway made of it."""
MAX_PARTS: Final = 32
MAX_BOUNDARY: Final = 70
"""Characters (RFC 2046 5.1.1)."""
MAX_VALUE: Final = 2_000
"""Characters kept of a field's value: what is looked for is short, and a pattern's work must stay small."""
MAX_FIELDS: Final = 1_000
"""Read of one header or group; an object for each of a million would fill the memory."""

_TYPE: Final = re.compile(r"\s*([\w.+-]{1,64}/[\w.+-]{1,64})")
_PARAMETER: Final = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_BLANK_LINE: Final = re.compile(rb"\n[ \t]*\n")

Fields = dict[str, list[str]]
"""Values by name in lower case, in order of appearance."""


@dataclass(frozen=True, slots=True)
class Part:
    """A message or a part of one; line ends are LF."""

    fields: Fields
    body: bytes

    def first(self, name: str) -> str:
        """Return the first value of a field, or nothing."""
        return self.fields.get(name, [""])[0]

    @property
    def content_type(self) -> str:
        """The type in lower case; what cannot be read is plain text (RFC 2045 5.2)."""
        found = _TYPE.match(self.first("content-type"))
        return found[1].lower() if found else "text/plain"

    def parameter(self, name: str) -> str:
        """Return a parameter of the Content-Type, or nothing."""
        for key, quoted, plain in _PARAMETER.findall(self.first("content-type")):
            if key.lower() == name:
                return re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        return ""

    @property
    def content(self) -> bytes:
        """The body without its transfer encoding; as it is if that cannot be undone."""
        encoding = self.first("content-transfer-encoding").strip().lower()
        try:
            if encoding == "base64":
                return _with_lf(base64.b64decode(self.body))
            if encoding == "quoted-printable":
                return _with_lf(quopri.decodestring(self.body))
        except binascii.Error:
            return self.body
        return self.body


def read_part(raw: bytes) -> Part:
    """Part the header block from the body."""
    return _part_of(_with_lf(raw))


def walk(part: Part, depth: int = 0) -> Iterator[Part]:
    """Yield the part and, for multiparts, what is in them."""
    yield part
    if not part.content_type.startswith("multipart/") or depth == MAX_DEPTH:
        return
    boundary = part.parameter("boundary")
    if 0 < len(boundary) <= MAX_BOUNDARY:
        for piece in _split(part.body, boundary.encode()):
            yield from walk(_part_of(piece), depth + 1)


def blocks(text: bytes) -> Iterator[Fields]:
    """Yield groups of fields with blank lines between them, as in RFC 3464 2.1: one at a time, there may be many."""
    start = 0
    for gap in _BLANK_LINE.finditer(text):
        if found := read_fields(text[start : gap.start()]):
            yield found
        start = gap.end()
    if found := read_fields(text[start:]):
        yield found


def read_fields(block: bytes) -> Fields:
    """Read header fields, unfolded; a line that is neither a field nor a continuation is passed over."""
    fields: Fields = {}
    values: list[str] | None = None
    count = 0
    for octets in io.BytesIO(block):
        line = octets.decode("utf-8", "replace")
        if line[:1] in {" ", "\t"}:
            if values is not None and len(values[-1]) < MAX_VALUE:
                values[-1] = f"{values[-1]} {line.strip()}"[:MAX_VALUE]
            continue
        name, colon, value = line.partition(":")
        values = None
        if colon and name.strip():
            if count == MAX_FIELDS:
                break
            count += 1
            values = fields.setdefault(name.strip().lower(), [])
            values.append(value.strip()[:MAX_VALUE])
    return fields


def _with_lf(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _part_of(raw: bytes) -> Part:
    if raw.startswith(b"\n"):
        return Part({}, raw[1:])
    head, _, body = raw.partition(b"\n\n")
    return Part(read_fields(head), body)


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    """Return what is between the delimiters; the last one may be missing, as where a gateway cut the mail short."""
    delimiter = re.compile(rb"(?:\A|\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\n|\Z)")
    pieces: list[bytes] = []
    start: int | None = None
    for found in delimiter.finditer(body):
        if start is not None:
            pieces.append(body[start : found.start()])
        if found[1] or len(pieces) == MAX_PARTS:
            return pieces
        start = found.end() + 1
    return pieces if start is None else [*pieces, body[start:]]

"""The documentation as it is tested: pages, their code blocks, and the notes that say how a block is run.

A note is an HTML comment, which neither GitHub nor Sphinx shows:

``<!-- relay: FAULT; FAULT -->``      from here on the page's relay is a new scripted server with these faults
``<!-- example: settings -->``        the next block is a settings module: checked, and in force from here on
``<!-- example: settings alone -->``  the same, and forgotten at once
``<!-- example: pytest -->``          the next block is a test module; pytest runs it and must be content
``<!-- example: raises X -->``        the next block raises an exception of this class
``<!-- example: log -->``             each line of the next block was logged by the blocks before it
``<!-- example: not run, REASON -->`` the next block is shown only
``<!-- check: EXPRESSION -->``        holds after the block above

Everything else in Python is run in the page's one namespace, with ``relay`` as the server, port 1025 replaced by its
port and ``smtp.example.org`` by its host. ``pycon`` blocks are doctests. Checks may call ``manage("command", ...)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_PIECE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=fence)[ ]*$"
    r"|<!--\s*(?P<key>relay|example|check):\s*(?P<value>.*?)\s*-->",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Note:
    """One of the comments above."""

    key: str
    value: str
    line: int


@dataclass(frozen=True)
class Block:
    """A fenced block. ``example`` is what the note before it says, or empty."""

    language: str
    code: str
    example: str
    line: int


def pages() -> list[Path]:
    """Return every page that people read: the README and what Sphinx builds."""
    return [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]


def name_of(page: Path) -> str:
    """Return the page's path below the root."""
    return str(page.relative_to(ROOT))


def pieces(text: str) -> Iterator[Note | Block]:
    """Yield notes and blocks in order; the ``example`` note is part of the block that follows it."""
    example = ""
    for found in _PIECE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found["key"] == "example":
            example = found["value"]
        elif found["key"]:
            yield Note(found["key"], found["value"], line)
        else:
            yield Block(found["language"].strip(), found["code"], example, line)
            example = ""


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return a page's blocks in these languages."""
    found = pieces(page.read_text(encoding="utf-8"))
    return [each for each in found if isinstance(each, Block) and each.language in languages]


def prose(page: Path) -> str:
    """Return a page's text without its blocks, inline code and comments."""
    text = re.sub(r"^(`{3,}).*?^\1[ ]*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"`[^`\n]+`", "", text)

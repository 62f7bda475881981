"""How the pages are written: links that lead somewhere, files that exist, words that are true."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import DOCS, ROOT, name_of, pages, prose

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
DOC = re.compile(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`")
SOURCE = re.compile(r"`((?:src|tests|docs|authentication|e_commerce_api|robust_email)/[\w./-]+)`")

# A 250 is no proof of delivery, and a mail that left is not a mail that arrived.
UNTRUE = re.compile(
    r"\b(?:(?:e-?)?mails?|messages?|it|they)\s+(?:was|were|is|are|has been|have been|gets?|got)\s+(?:\w+ly\s+)?"
    r"(?:sent|delivered)\b|\bsuccessfully (?:sent|delivered)\b|\bguaranteed delivery\b",
    re.IGNORECASE,
)
DASHES = re.compile("[\u2014\u2013]")


@pytest.mark.parametrize("page", [*pages(), *OTHERS], ids=name_of)
def test_relative_links_lead_to_files(page: Path) -> None:
    """A link without a host names a file that is there, and a heading that the file has."""
    broken = []
    for target in LINK.findall(page.read_text("utf-8")):
        parts = urlsplit(target)
        if parts.scheme or not parts.path:
            continue
        path = page.parent / parts.path
        if not path.exists() or (parts.fragment and parts.fragment not in _headings(path)):
            broken.append(target)
    assert broken == []


def _headings(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_references_lead_to_pages(page: Path) -> None:
    """A reference to another page of the documentation names one that is there."""
    broken = []
    for target in DOC.findall(page.read_text("utf-8")):
        path = DOCS / target[1:] if target.startswith("/") else page.parent / target
        if not path.with_suffix(".md").is_file():
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    """A path of this repository in the text is a file or folder of it."""
    found = SOURCE.findall(page.read_text("utf-8"))
    roots = (ROOT, ROOT / "src")
    assert [name for name in found if not any((root / name).exists() for root in roots)] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_no_word_says_more_than_the_protocol(page: Path) -> None:
    """Nothing is called sent or delivered where the relay accepted it."""
    assert UNTRUE.findall(prose(page)) == []


def test_an_untrue_word_would_be_noticed() -> None:
    """The pattern finds what it is for, and lets the talk of sending be."""
    claims = ["The message was successfully delivered.", "Mails are sent at once.", "The e-mail has been sent."]
    assert [claim for claim in claims if not UNTRUE.search(claim)] == []
    assert not UNTRUE.search("Send from a task. Nothing sends it twice. What was sent in clear?")


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_sentences_hold_without_dashes(page: Path) -> None:
    """A sentence is made with commas and full stops."""
    assert DASHES.findall(prose(page)) == []


def test_every_page_can_be_reached() -> None:
    """Each page is in a table of contents; Sphinx warns too, but only where it runs."""
    listed = set()
    for page in pages():
        for entries in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            names = [line for line in entries.splitlines() if line and not line.startswith(":")]
            listed |= {each.with_suffix("") for name in names for each in _entries(page, name)}
    there = {page.with_suffix("").resolve() for page in pages() if DOCS in page.parents}
    assert there - listed == {DOCS / "index"}


def _entries(page: Path, name: str) -> list[Path]:
    """Return what an entry of a table of contents names: one page, or, by a pattern, those that there are."""
    folder = DOCS if name.startswith("/") else page.parent
    return sorted(folder.glob(f"{name.lstrip('/')}.md")) if "*" in name else [(folder / name.lstrip("/")).resolve()]

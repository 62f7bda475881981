"""Every block of the README and the documentation does what the page says it does."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import TYPE_CHECKING

import pytest
from django.core.management import get_commands

from robust_email.doctor import command as doctor
from robust_email.registry import registry
from robust_email.testing import __main__ as catcher
from tests.docs.pages import ROOT, Block, Note, blocks, name_of, pages, pieces
from tests.docs.running import PageRun

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = ("python", "pycon", "text")
SHELL = ("console", "sh", "bash", "shell")
PAGES_WITH_PYTHON = [page for page in pages() if blocks(page, "python", "pycon")]
ELSEWHERE = {"docker", "openssl", "celery", "cat", "cp", "dig", "getent", "git", "cd", "source", "grep", "python3"}
"""Programs that are nobody's of this repository; their lines are read, not run."""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", PAGES_WITH_PYTHON, ids=name_of)
def test_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """The page's blocks run one after the other, and what the page claims about them holds."""
    with PageRun(tmp_path) as run:
        for piece in pieces(page.read_text(encoding="utf-8")):
            try:
                _work_off(run, piece)
            except Exception as error:
                error.add_note(f"{name_of(page)}, line {piece.line}")
                raise
    registry.close()


def _work_off(run: PageRun, piece: Note | Block) -> None:
    if isinstance(piece, Block):
        if piece.language in PYTHON:
            run.run(piece)
    elif piece.key == "relay":
        run.new_relay(piece.value)
    else:
        run.check(piece.value)


SHELL_LINES = [
    (name_of(page), block.line, line)
    for page in pages()
    for block in blocks(page, *SHELL)
    for line in block.code.replace("\\\n", " ").splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]


@pytest.mark.parametrize(("page", "number", "line"), SHELL_LINES, ids=[f"{p}:{n}:{x}" for p, n, x in SHELL_LINES])
def test_shell_lines_name_what_exists(page: str, number: int, line: str) -> None:
    """A command in the documentation is one that this repository, or a program named here, has."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    assert words, f"{page}:{number}"
    match [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]:
        case ["make", *targets]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert all(re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) for target in targets)
        case ["python", "manage.py", command, *_]:
            assert command in {*get_commands(), "runserver"}
        case ["python", "-m", "robust_email.testing", *options]:
            assert catcher._parser().parse_args(options) is not None
        case ["python", "-m", "robust_email", "doctor", *options]:
            assert doctor._parser().parse_args(options) is not None
        case [("pip" | "uv"), *_, requirement]:
            assert _is_ours(requirement)
        case [".venv/bin/python" | "python", script, *_]:
            assert (ROOT / script).is_file() or script in {"-m", "-c"}
        case [program, *_]:
            assert program in ELSEWHERE, f"{page}:{number}: {line}"


def _is_ours(requirement: str) -> bool:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.fullmatch(r"([\w-]+)(?:\[([\w,]+)\])?", requirement)
    extras = set((found[2] or "").split(",")) - {""} if found else {"?"}
    return found is not None and found[1] == project["name"] and extras <= set(project["optional-dependencies"])


def test_a_block_that_is_not_run_says_why() -> None:
    """Each block of Python that is shown only gives its reason."""
    unexplained = [
        f"{name_of(page)}:{block.line}"
        for page in pages()
        for block in blocks(page, "python", "pycon")
        if block.example.startswith("not run") and len(block.example.partition(", ")[2]) < len("a reason")
    ]
    assert unexplained == []


def test_every_language_is_known() -> None:
    """A block without a language would be run by nobody and noticed by nobody."""
    known = {*PYTHON, *SHELL, "ini", "yaml", "toml", "json", "text", "markdown", "conf"}
    strange = [
        f"{name_of(page)}:{piece.line}: {piece.language}"
        for page in pages()
        for piece in pieces(page.read_text(encoding="utf-8"))
        if isinstance(piece, Block) and piece.language not in known and not piece.language.startswith("{")
    ]
    assert strange == []

"""Words and names that are kept out of the repository, and why."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A name that says nothing collects what has no other place (style.md).
SHAPELESS = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "base.py", "misc.py", "tools.py"}

# Written so that no pattern is found by itself.
PLACES = {
    "a package registry's host": re.compile(r"pypi[.]org|python[h]osted|npmjs[.]org|deb[.]debian[.]org|crates[.]io"),
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|root|home|Users|tmp)/\w"),
}


@cache
def tracked_files() -> tuple[str, ...]:
    """Return what git tracks or would track, as paths below the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git work tree: an unpacked sdist holds only chosen files")
    return tuple(name for name in listing.stdout.splitlines() if (ROOT / name).is_file())


def lines_of(name: str) -> list[str]:
    """Return the lines of a text file; of a picture, none."""
    try:
        return (ROOT / name).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []


def test_no_file_has_a_shapeless_name() -> None:
    """No module is called utils, helpers, common or base."""
    found = [name for name in tracked_files() if Path(name).name in SHAPELESS]
    assert [name for name in found if not name.startswith("docs/")] == []


@pytest.mark.parametrize("what", PLACES)
def test_no_file_names_a_place(what: str) -> None:
    """No line names a registry's host or a path of the machine it was written on."""
    found = []
    for name in tracked_files():
        for number, line in enumerate(lines_of(name), start=1):
            if PLACES[what].search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize("pattern", PLACES.values(), ids=PLACES)
def test_a_place_would_be_noticed(pattern: re.Pattern[str]) -> None:
    """Each pattern finds what it is for."""
    samples = ["see pypi!org".replace("!", "."), "cd !root!project".replace("!", "/")]
    assert any(pattern.search(sample) for sample in samples)


def python_files(*folders: str) -> list[str]:
    """Return the tracked Python files below `folders`."""
    return [name for name in tracked_files() if name.endswith(".py") and name.startswith(folders)]


def test_every_file_says_what_it_is_for() -> None:
    """Every module that holds something begins with a docstring."""
    silent = []
    for name in python_files("src/", "e_commerce_api/", "authentication/", "benchmarks/", "demo/", "tests/"):
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        if tree.body and ast.get_docstring(tree) is None and "/migrations/" not in name:
            silent.append(name)
    assert silent == []


def test_every_test_says_what_it_expects() -> None:
    """Every test function has a docstring."""
    silent = [
        f"{name}: {node.name}"
        for name in python_files("tests/")
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and Path(name).name.startswith("test_")
        and ast.get_docstring(node) is None
    ]
    assert silent == []


def test_every_silenced_check_gives_its_reason() -> None:
    """A noqa, a type: ignore and a pragma name their code and then say why."""
    reason = r"\s+[-#(]+ *\w"
    noqa = rf"noqa(?!: [A-Z]+\d+(?:, ?[A-Z]+\d+)*{reason})"
    ignore = rf"type: ignore(?!\[[\w, -]+\]{reason})"
    bare = re.compile(rf"#\s*(?:{noqa}|{ignore}|pragma: no cover(?!{reason}))")
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in python_files("src/", "e_commerce_api/", "authentication/", "benchmarks/", "demo/", "noxfile.py")
        for number, line in enumerate(lines_of(name), start=1)
        if bare.search(line)
    ]
    assert found == []


def test_words_of_delivery_are_not_used_for_a_250() -> None:
    """The library says accepted: no identifier of its own claims that a message was delivered."""
    claims = re.compile(
        r"\b(?:is_|was_|mark_|status_)?delivered\b|\bmark_sent\b|\bis_sent\b|\bsent_at\b", re.IGNORECASE
    )
    found = []
    for name in python_files("src/robust_email/"):
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            word = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
            if isinstance(word, str) and claims.search(word):
                found.append(f"{name}: {word}")
    assert found == []

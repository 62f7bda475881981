"""Files and functions stay small enough to be read in one sitting: 450 lines and 50 lines are the ends."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LIMIT = 450
FUNCTION_LIMIT = 50
FOLDERS = ["src", "e_commerce_api", "authentication", "benchmarks", "demo", "tests"]
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "migrations" not in path.parts)


def name_of(path: Path) -> str:
    """Return the path as a reader of the repository knows it."""
    return str(path.relative_to(ROOT))


def long_functions(source: str) -> list[str]:
    """Return ``name (n lines)`` of each function of more than `FUNCTION_LIMIT` lines, its docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = node.body[0] if ast.get_docstring(node) is not None else None
        spoken = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
        length = (node.end_lineno or 0) - node.lineno + 1 - spoken
        if length > FUNCTION_LIMIT:
            found.append(f"{node.name} ({length} lines)")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_file_or_function_is_too_long(path: Path) -> None:
    """A file has at most 450 lines, a function at most 50 beside its docstring."""
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= FILE_LIMIT
    assert long_functions(source) == []


def test_a_long_function_is_noticed() -> None:
    """The measure counts the body and leaves the docstring out."""
    body = "\n".join(["    x = 1"] * FUNCTION_LIMIT)
    assert long_functions(f"def short():\n    '''One.\n\n    Two.\n    '''\n{body[10:]}") == []
    assert long_functions(f"def long():\n{body}") == ["long (51 lines)"]

"""Tables, and the sentences that stand in the source beside what they describe."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

ROOT = Path(__file__).parents[2]
NOTICE = "<!-- Made by docs/generate.py out of the code. Change it there, and run: python docs/generate.py -->\n\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a bar inside a cell is escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Return inline code."""
    return f"`{text}`"


def plain(docstring: str | None) -> str:
    """Return a docstring as Markdown: its first paragraph, with the code marked once instead of twice."""
    first = inspect.cleandoc(docstring or "").partition("\n\n")[0]
    first = re.sub(r":(?:\w+):`~?([\w.]+)`", lambda found: f"`{found[1].rpartition('.')[2]}`", first)
    return " ".join(first.replace("``", "`").split())


def whole(docstring: str | None) -> str:
    """Return all paragraphs of a docstring as Markdown."""
    return inspect.cleandoc(docstring or "").replace("``", "`")


def beside(module: ModuleType, owner: str | None = None) -> dict[str, str]:
    """Return the strings that follow the names of a module, or of one of its classes, each with its name.

    A name without a string is there with an empty one.
    """
    tree: ast.Module | ast.ClassDef = ast.parse(inspect.getsource(module))
    if owner is not None:
        tree = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner)
    found: dict[str, str] = {}
    latest: str | None = None
    for node in tree.body:
        name = _assigned(node)
        if name is not None:
            latest = name
            found[name] = ""
        elif latest is not None and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[latest] = plain(str(node.value.value))
        else:
            latest = None
    return found


def _assigned(node: ast.stmt) -> str | None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return targets[0].id if targets and isinstance(targets[0], ast.Name) else None

"""The module map: each file of the library with the first line of its docstring."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from facts.markdown import ROOT, code, plain, table

if TYPE_CHECKING:
    from pathlib import Path

LIBRARY = ROOT / "src" / "robust_email"
FIRST = ("smtp", "smtp/protocol", "smtp/net", "smtp/governor", "outbox", "outbox/services")
"""In reading order, behind the Django side; the others follow by their names."""
HIDDEN = {"management", "migrations", "templatetags"}


def page() -> str:
    """Return the reference page of the modules."""
    found = {str(path.parent.relative_to(LIBRARY)) for path in _modules("**/*.py")} - {"."}
    packages = [*FIRST, *sorted(found - set(FIRST))]
    return (
        "# Module map\n\nEvery file of the library, with the sentence at its top. "
        "{doc}`/explanation/architecture` says in which order to read them.\n\n"
        + "\n".join(_section(package) for package in ("", *packages))
    )


def _section(package: str) -> str:
    name = ".".join(("robust_email", *package.split("/"))).rstrip(".")
    rows = ((code(path.name), _first_line(path)) for path in _modules(f"{package}/*.py".lstrip("/")))
    purpose = _first_line(LIBRARY / package / "__init__.py")
    return f"## {name}\n\n{purpose}\n\n{table(('File', 'What it is for'), rows)}"


def _modules(pattern: str) -> list[Path]:
    return sorted(path for path in LIBRARY.glob(pattern) if path.name != "__init__.py" and not HIDDEN & set(path.parts))


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return plain((docstring or "").partition("\n")[0])

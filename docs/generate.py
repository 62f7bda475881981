"""Write the pages, tables and pictures that are made from the code: ``python docs/generate.py``.

``tests/docs/test_reference.py`` fails when one of them says something else than the code.
"""  # noqa: INP001 - a script beside the documentation

from __future__ import annotations

from typing import TYPE_CHECKING

from facts import diagram, dialogue, failures, kit, modules, options, relays, rows, suppressed, watching
from facts.markdown import NOTICE, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAGES: dict[str, Callable[[], str]] = {
    "settings": options.page,
    "errors": failures.page,
    "signals": watching.signals_page,
    "events": watching.events_page,
    "metrics": watching.metrics_page,
    "log-lines": watching.logging_page,
    "checks": watching.checks_page,
    "verdicts": dialogue.verdicts_page,
    "states": dialogue.states_page,
    "engine": kit.engine_page,
    "testing": kit.testing_page,
    "commands": kit.commands_page,
    "outbox": rows.page,
    "findings": kit.findings_page,
    "providers": relays.page,
    "modules": modules.page,
    "suppression": suppressed.page,
}
README_TABLES: dict[str, Callable[[], str]] = {
    "settings": options.readme_table,
    "errors": failures.readme_table,
}


def files() -> Iterator[tuple[Path, str]]:
    """Yield each file with the text that it should have."""
    for name, page in PAGES.items():
        yield ROOT / "docs" / "reference" / f"{name}.md", NOTICE + page().rstrip("\n") + "\n"
    yield ROOT / "docs" / "pictures" / "states.svg", diagram.svg()
    readme = ROOT / "README.md"
    yield readme, with_tables(readme.read_text(encoding="utf-8"))


def with_tables(text: str) -> str:
    """Return the README's text with its tables renewed, each between two comments that name it."""
    for name, make in README_TABLES.items():
        begin, end = f"<!-- begin {name}, made by docs/generate.py -->", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n\n{make()}\n{end}{after}"
    return text


def main() -> None:
    """Write what is out of date."""
    for path, text in files():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print("written:", path.relative_to(ROOT))  # noqa: T201 - what it did


if __name__ == "__main__":
    main()

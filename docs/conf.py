"""Sphinx's configuration. `make docs` builds with it; a warning is an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robust_email import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "django-robust-email"
author = "the django-robust-email contributors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's word
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]

PICTURES = "<!-- pictures of the latest run -->"
RESULTS = "```{toctree}\n:glob:\n\n/benchmarks/*\n```\n"


def add_results(app: Sphinx, docname: str, source: list[str]) -> None:
    """Show what `make bench` drew and wrote, as far as it was run: a pattern for no page would be a warning."""
    if docname == "explanation/benchmarks":
        folder = Path(app.srcdir, "benchmarks")
        drawn = sorted(folder.glob("*.svg"))
        shown = (f"![{path.stem.replace('-', ' ')}](../benchmarks/{path.name})" for path in drawn)
        text = source[0].replace(PICTURES, "\n\n".join(shown))
        source[0] = text if any(folder.glob("*.md")) else text.replace(RESULTS, "")


def setup(app: Sphinx) -> None:
    """Sphinx calls it."""
    app.connect("source-read", add_results)

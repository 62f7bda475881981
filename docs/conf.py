"""Sphinx's configuration. `make docs` builds with it; a warning is an error."""

from __future__ import annotations

from robust_email import __version__

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

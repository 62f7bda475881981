"""The generator of the reference lives beside the documentation, outside of every package."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import DOCS

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give ``docs/generate.py`` as a module."""
    monkeypatch.syspath_prepend(str(DOCS))
    for name in [name for name in sys.modules if name == "generate" or name.partition(".")[0] == "facts"]:
        monkeypatch.delitem(sys.modules, name)
    return import_module("generate")

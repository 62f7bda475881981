"""Fixtures of the Django side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robust_email.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_pool_left() -> Iterator[None]:
    """Leave no session for the next test."""
    yield
    registry.close()

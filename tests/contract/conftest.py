"""Fixtures of the contract."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from robust_email.registry import registry
from tests.contract.ways import WAYS, Ways

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_pool_left() -> Iterator[None]:
    """Leave no session for the next test."""
    yield
    registry.close()


@pytest.fixture(params=WAYS)
def build(request: pytest.FixtureRequest) -> Iterator[Ways]:
    """Give a factory of backends, for each way of configuring one."""
    with contextlib.ExitStack() as stack:
        yield Ways(request.param, stack)

"""Fixtures: a relay that ``send_mail`` goes to, straight or by the outbox, and an end to the sessions afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robust_email.registry import registry
from tests.contract.ways import legacy_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer


@pytest.fixture(autouse=True)
def no_pool_left() -> Iterator[None]:
    """Leave no session for the next test."""
    yield
    registry.close()


@pytest.fixture
def relay(smtp_server: ScriptedServer) -> Iterator[ScriptedServer]:
    """Give the server that ``send_mail`` speaks to."""
    where = {"EMAIL_HOST": smtp_server.host, "EMAIL_PORT": smtp_server.port}
    with legacy_settings(**where, EMAIL_TIMEOUT=5, EMAIL_CONNECTION_RETRY_DELAY=0):
        yield smtp_server


@pytest.fixture
def outbox_relay(smtp_server: ScriptedServer, transactional_db: None) -> Iterator[ScriptedServer]:
    """Give the server that the outbox hands over to, which ``send_mail`` writes into."""
    where = {"EMAIL_HOST": smtp_server.host, "EMAIL_PORT": smtp_server.port}
    backend = "robust_email.outbox.backend.OutboxEmailBackend"
    with legacy_settings(**where, EMAIL_BACKEND=backend, EMAIL_TIMEOUT=5, EMAIL_CONNECTION_RETRY_ATTEMPTS=1):
        yield smtp_server

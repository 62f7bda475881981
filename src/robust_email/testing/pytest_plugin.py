"""Fixtures for pytest, there as soon as the distribution is installed (entry point ``pytest11``)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from robust_email.testing.script import Script
from robust_email.testing.scripted import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing.certs import CertificateAuthority
    from robust_email.testing.durable import OutboxProbe
    from robust_email.testing.faults import Fault
    from robust_email.testing.inmemory import InMemoryRelay


class ServerFactory(Protocol):
    """Start a server that closes with the test."""

    def __call__(self, *faults: Fault, **fields: Any) -> ScriptedServer:  # noqa: ANN401 - the fields of Script
        """Start a server with these faults and these other fields of a :class:`~robust_email.testing.Script`."""


@pytest.fixture
def smtp_server() -> Iterator[ScriptedServer]:
    """Give an SMTP server that behaves; ``add_fault`` makes it misbehave."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def smtp_faults() -> Iterator[ServerFactory]:
    """Give a factory of servers that close with the test.

    ``server = smtp_faults(Fault(At.RCPT, Reply("451 4.7.1 later")), accounts={"user": "password"})``
    """
    with contextlib.ExitStack() as stack:

        def start(*faults: Fault, **fields: Any) -> ScriptedServer:  # noqa: ANN401 - the fields of Script
            return stack.enter_context(ScriptedServer(Script(faults=faults, **fields)))

        yield start


@pytest.fixture(scope="session")
def smtp_certs(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Give a throw-away certificate authority, the same for the whole run (needs trustme)."""
    from robust_email.testing.certs import CertificateAuthority

    return CertificateAuthority(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def smtp_memory() -> Iterator[InMemoryRelay]:
    """Give the relay of ``InMemoryEmailBackend``, for whose mail no socket is opened (needs Django).

    All of the project's mail goes there.
    """
    from robust_email.testing import inmemory
    from robust_email.testing.schedules import mail_in_memory, schedules_at_once

    inmemory.relay.clear()
    with schedules_at_once(**mail_in_memory()):
        yield inmemory.relay
    inmemory.relay.clear()


@pytest.fixture
def outbox(db: None) -> Iterator[OutboxProbe]:  # noqa: ARG001 - pytest-django makes the databases where it sees it asked for
    """Give the durable outbox, with mail going into it and from there to a relay in memory (needs pytest-django).

    Retries are due at once. ``outbox.run()`` hands over what is due; ``outbox.relay`` takes faults.
    """
    from robust_email.testing import inmemory
    from robust_email.testing.durable import OutboxProbe
    from robust_email.testing.schedules import mail_in_memory, schedules_at_once

    inmemory.relay.clear()
    with schedules_at_once(**mail_in_memory(outbox=True)):
        yield OutboxProbe()
    inmemory.relay.clear()

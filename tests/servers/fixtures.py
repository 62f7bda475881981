"""Real servers as fixtures: each is a factory, ``server = postfix(strict=True)``, whose servers end with the test.

A server that is not there skips the test; where services are required (``tests/services.py``) it fails it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.servers import aiosmtpd_server as aiosmtpd_module
from tests.servers import exim as exim_module
from tests.servers import haraka as haraka_module
from tests.servers import opensmtpd as opensmtpd_module
from tests.servers import postfix as postfix_module
from tests.servers.running import RunningServer, ServerStarter, ServerTls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from robust_email.testing.certs import CertificateAuthority


@contextlib.contextmanager
def _starter(run: Callable[..., AbstractContextManager[RunningServer]]) -> Iterator[ServerStarter]:
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(run(**options))


@pytest.fixture
def postfix() -> Iterator[ServerStarter]:
    """Give a factory of Postfix servers."""
    with _starter(postfix_module.postfix) as start:
        yield start


@pytest.fixture
def exim() -> Iterator[ServerStarter]:
    """Give a factory of Exim servers."""
    with _starter(exim_module.exim) as start:
        yield start


@pytest.fixture
def haraka() -> Iterator[ServerStarter]:
    """Give a factory of Haraka servers."""
    with _starter(haraka_module.haraka) as start:
        yield start


@pytest.fixture
def opensmtpd() -> Iterator[ServerStarter]:
    """Give a factory of OpenSMTPD servers."""
    with _starter(opensmtpd_module.opensmtpd) as start:
        yield start


@pytest.fixture
def aiosmtpd_server() -> Iterator[ServerStarter]:
    """Give a factory of aiosmtpd servers."""
    with _starter(aiosmtpd_module.aiosmtpd_server) as start:
        yield start


@pytest.fixture(scope="session")
def starttls(smtp_certs: CertificateAuthority) -> ServerTls:
    """Give a good certificate for a server with STARTTLS."""
    chain, key = smtp_certs.files()
    return ServerTls(chain=chain, key=key)


@pytest.fixture(scope="session")
def implicit_tls(smtp_certs: CertificateAuthority) -> ServerTls:
    """Give a good certificate for a server with TLS from the first octet."""
    chain, key = smtp_certs.files()
    return ServerTls(chain=chain, key=key, implicit=True)

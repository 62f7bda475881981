"""What every real server's context manager gives: where it listens, what it offers, and its own account of its mail.

Ports are never picked and then hoped for: :func:`reserved_port` keeps a bound socket on the port that never listens,
beside which a server that sets ``SO_REUSEADDR`` (all of these do) can bind and listen.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HOST = "127.0.0.1"
_START_TIMEOUT = 20.0
_POLL = 0.02

Taken = tuple[str, str]
"""A recipient, and the ``Message-ID`` of a message that was taken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """A certificate chain and key as PEM files, and whether TLS begins with the first octet."""

    chain: Path
    key: Path
    implicit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A real SMTP server that runs until its context manager ends."""

    name: str
    port: int
    host: str = HOST
    tls: ServerTls | None = None
    accounts: Mapping[str, str] = field(default_factory=dict, repr=False)
    read_ledger: Callable[[], list[Taken]] = field(repr=False)
    read_log: Callable[[], str] = field(default=lambda: "", repr=False)

    def ledger(self) -> list[Taken]:
        """Return what the server took so far by its own books, an entry per recipient."""
        return self.read_ledger()

    def wait_for_ledger(self, count: int, timeout: float = 10.0) -> list[Taken]:
        """Return the ledger as soon as it has ``count`` entries; :exc:`TimeoutError` after ``timeout`` seconds.

        Servers write their logs when they like, so the file has to be asked again and again.
        """
        deadline = time.monotonic() + timeout
        while len(taken := self.ledger()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} took {taken}, wanted {count} entries; its log:\n{self.read_log()}")
            time.sleep(_POLL)
        return taken

    def offered(self) -> frozenset[str]:
        """Ask with EHLO, in the clear unless TLS is implicit, and return the keywords in upper case."""
        import ssl

        with contextlib.ExitStack() as stack:
            if self.tls is not None and self.tls.implicit:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                client: smtplib.SMTP = stack.enter_context(smtplib.SMTP_SSL(self.host, self.port, context=context))
            else:
                client = stack.enter_context(smtplib.SMTP(self.host, self.port))
            client.ehlo()
            return frozenset(keyword.upper() for keyword in client.esmtp_features)


class ServerStarter(Protocol):
    """Start a server that ends with the test; options go to the server's context manager."""

    def __call__(
        self, *, tls: ServerTls | None = None, accounts: Mapping[str, str] | None = None, **options: object
    ) -> RunningServer:
        """Start it and wait until it greets."""


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port of the loopback that stays ours until the block ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, 0))
        yield int(sock.getsockname()[1])


@contextlib.contextmanager
def server_folder(name: str) -> Iterator[Path]:
    """Give a temporary folder that a server running as another user can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix=f"robust-email-{name}-", ignore_cleanup_errors=True) as path:
        folder = Path(path)
        folder.chmod(0o755)
        yield folder


def wait_until_it_greets(name: str, port: int, read_log: Callable[[], str], alive: Callable[[], bool]) -> None:
    """Return once the port accepts connections; :exc:`RuntimeError` with the log when it won't."""
    deadline = time.monotonic() + _START_TIMEOUT
    while alive() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
            return
        time.sleep(_POLL)
    raise RuntimeError(f"{name} did not start on port {port}:\n{read_log()}")


def text_of(path: Path) -> str:
    """Return the file's text, an empty string while there is no file."""
    return path.read_text("utf-8", "backslashreplace") if path.exists() else ""

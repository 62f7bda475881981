"""The servers and proxies of a benchmark: processes started here, on free ports, and ended here."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Target:
    """Where peers submit to. ``cafile`` is set where they must use STARTTLS and AUTH."""

    host: str
    port: int
    cafile: str | None = None
    user: str = "bench"
    password: str = "bench"  # noqa: S105 - the sink takes any


@contextlib.contextmanager
def _printing_port(*arguments: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def sink(*options: str) -> Iterator[int]:
    """Our own sink (``benchmarks.sink``); yields its port."""
    with _printing_port("benchmarks.sink", *options) as port:
        yield port


@contextlib.contextmanager
def delayed(port: int, rtt: float) -> Iterator[int]:
    """The delay proxy in front of ``port``; at a round trip of 0 ms the port itself."""
    if rtt == 0:
        yield port
        return
    with _printing_port("benchmarks.delay", "--port", str(port), "--rtt", str(rtt)) as proxy:
        yield proxy


@contextlib.contextmanager
def smtp_sink() -> Iterator[int | None]:
    """Postfix's ``smtp-sink`` (PIPELINING, no CHUNKING); ``None`` where it is not installed."""
    program = shutil.which("smtp-sink", path=SYSTEM_PATH)
    if program is None:
        yield None
        return
    port = free_port()
    process = subprocess.Popen([program, "-u", "nobody", f"127.0.0.1:{port}", "256"], stderr=subprocess.DEVNULL)
    try:
        _until_open(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port of the loopback on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def _until_open(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


@dataclass(frozen=True)
class Certificates:
    """A throw-away authority and a server certificate for 127.0.0.1 and localhost, as PEM files."""

    cafile: str
    certificate: str


def certificates(folder: Path) -> Certificates:
    """Make them in ``folder``."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    cafile, certificate = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(str(cafile))
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    return Certificates(str(cafile), str(certificate))


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str | None]:
    """A Redis server that keeps nothing; yields its URL, ``None`` where it is not installed."""
    program = shutil.which("redis-server", path=SYSTEM_PATH)
    if program is None:
        yield None
        return
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        _until_open(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()

"""What the doctor is asked to examine, and the world it looks at. Both are values, so that tests can give their own."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.doctor.findings import Finding
    from robust_email.smtp import SmtpConfig
    from robust_email.smtp.net.resolver import GetAddrInfo

RESOLV_CONF: Final = Path("/etc/resolv.conf")
_CONTAINER_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_CONTAINER_WORDS: Final = ("docker", "kubepods", "containerd", "lxc", "libpod")


class RecordsFailed(Exception):
    """DNS gave no answer about records: no server, a time-out, a refusal. ``str()`` says which."""


class Records(Protocol):
    """DNS records of a domain, asked for by name and type."""

    def __call__(self, name: str, kind: str) -> tuple[str, ...] | None:
        """Return the records' texts, empty where the name has none of this kind, ``None`` where there is no such name.

        Raises ``RecordsFailed``.
        """


def read_resolv_conf() -> str:
    """Return the text of this machine's resolv.conf. Raises ``OSError``."""
    return RESOLV_CONF.read_text(encoding="utf-8", errors="replace")


def runs_in_container() -> bool:
    """Whether this process seems to run in a container: by the marks that Docker, Podman and Kubernetes leave."""
    if any(mark.exists() for mark in _CONTAINER_MARKS):
        return True
    try:
        groups = Path("/proc/1/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(word in groups for word in _CONTAINER_WORDS)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine, its DNS and its clocks. The defaults are the real ones."""

    resolv_conf: Callable[[], str] = read_resolv_conf
    in_container: Callable[[], bool] = runs_in_container
    getaddrinfo: GetAddrInfo | None = None
    """``None``: the socket module's."""
    nameserver_port: int = 53
    records: Records | None = None
    """``None``: dnspython's, if it is installed."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    """One relay to be examined.

    ``sender`` and ``recipient`` are addresses without a display name; empty: not given. With a recipient, a real mail
    is submitted at the end. ``idle``: seconds to wait for the server to end an unused session; 0: not tried.
    """

    config: SmtpConfig
    sender: str = field(default="", repr=False)
    recipient: str = field(default="", repr=False)
    quick: bool = False
    """Only what tells whether a session can be had: no look at single name servers, no envelope, no measurements."""
    idle: float = 0.0
    dkim_selectors: tuple[str, ...] = ()
    message_octets: int = 262_144
    """The size to declare in the dry run: a mail with a small attachment."""
    notes: tuple[Finding, ...] = ()
    """What a framework's own checks of the configuration have found."""
    surroundings: Surroundings = Surroundings()

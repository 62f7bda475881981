"""What the tests of the doctor share: a sound machine around the doctor, a relay, and a look at what was found."""

from __future__ import annotations

import datetime as dt
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robust_email.doctor import DoctorReport, Plan, Severity, Surroundings, examine
from robust_email.smtp import Credentials, SmtpConfig, Timeouts, TlsMode, TlsPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RESOLV_CONF = "nameserver 127.0.0.1\n"
PATIENT = 16.0
"""Seconds a step may take, where the test is not about time: a busy machine stops for a second now and then."""
HASTY = 1.2
"""Seconds, where the test is about a server that keeps one waiting."""


def addresses_of(*hosts: str) -> Callable[..., Any]:
    """Return a ``getaddrinfo`` that knows one answer."""

    def getaddrinfo(_: str, port: int, *, type: int) -> list[Any]:  # noqa: A002 - its own name
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
        return [
            (family, type, 6, "", (host, port, 0, 0) if ":" in host else (host, port))
            for family, host in zip(families, hosts, strict=True)
        ]

    return getaddrinfo


def failing_with(number: int, text: str) -> Callable[..., Any]:
    """Return a ``getaddrinfo`` that fails as the C library does."""

    def getaddrinfo(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(number, text)

    return getaddrinfo


def surroundings(**changes: Any) -> Surroundings:  # noqa: ANN401 - the fields of Surroundings
    """Return a sound machine, no container, with a DNS in which the sender's domain is in order."""
    given: dict[str, Any] = {
        "resolv_conf": lambda: RESOLV_CONF,
        "in_container": lambda: False,
        "records": records_of(SOUND_DOMAIN),
        "now": lambda: dt.datetime.now(dt.UTC),
    }
    return Surroundings(**given | changes)


SOUND_DOMAIN: dict[tuple[str, str], tuple[str, ...]] = {
    ("shop.example.com", "TXT"): ("v=spf1 ip4:192.0.2.1 -all",),
    ("_dmarc.shop.example.com", "TXT"): ("v=DMARC1; p=reject",),
    ("shop.example.com", "MX"): ("10 mx.example.com.",),
}


def records_of(zone: Mapping[tuple[str, str], Sequence[str]]) -> Callable[[str, str], tuple[str, ...] | None]:
    """Return DNS records as a plan takes them; a name that is in no key does not exist."""
    names = {name for name, _ in zone}

    def records(name: str, kind: str) -> tuple[str, ...] | None:
        return tuple(zone.get((name, kind), ())) if name in names else None

    return records


@dataclass(frozen=True)
class Relay:
    """Where a test's server is, as an ``SmtpConfig`` says it."""

    port: int
    host: str = "127.0.0.1"
    mode: TlsMode = TlsMode.NONE
    cafile: str | None = None
    user: str = ""
    password: str = ""
    seconds: float = PATIENT

    def config(self, **changes: Any) -> SmtpConfig:  # noqa: ANN401 - the fields of SmtpConfig
        """Return the configuration."""
        given: dict[str, Any] = {
            "tls": TlsPolicy(self.mode, cafile=self.cafile),
            "credentials": Credentials(self.user, self.password) if self.user else None,
            "timeouts": Timeouts.uniform(self.seconds, final_reply=self.seconds, dns=self.seconds),
        }
        return SmtpConfig(self.host, self.port, **given | changes)


def diagnose(config: SmtpConfig, **wishes: Any) -> DoctorReport:  # noqa: ANN401 - the fields of Plan
    """Examine, with a sender whose domain is in order, in sound surroundings."""
    given: dict[str, Any] = {"sender": "orders@shop.example.com", "surroundings": surroundings()}
    return examine(Plan(config, **given | wishes))


def codes(report: DoctorReport, least: Severity = Severity.WARNING) -> list[str]:
    """Return the codes of findings that are at least so bad."""
    return [finding.code for finding in report.findings if finding.severity >= least]

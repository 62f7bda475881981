"""The round: which probes there are, in which order, and when one has nothing to look at. START READING HERE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from robust_email.doctor.findings import DoctorReport, Examined, Finding
from robust_email.doctor.probes import (
    authentication,
    capacity,
    configuration,
    domain,
    encryption,
    envelope,
    greeting,
    mail,
    names,
    nameservers,
    offers,
    proxying,
    reachability,
)
from robust_email.doctor.visit import Visit
from robust_email.smtp import TlsMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from robust_email.doctor.plan import Plan


def _always(_visit: Visit) -> bool:
    return True


class Probe(NamedTuple):
    """``concerns``: whether it is part of this examination at all. ``possible``: whether what it needs is there."""

    name: str
    title: str
    examine: Callable[[Visit], Iterator[Finding]]
    concerns: Callable[[Visit], bool] = _always
    possible: Callable[[Visit], bool] = _always


def _thorough(visit: Visit) -> bool:
    return not visit.plan.quick


PROBES: Final = (
    Probe("configuration", "Configuration", configuration.examine),
    Probe("nameservers", "Name servers", nameservers.examine, _thorough),
    Probe("names", "The relay's name", names.examine),
    Probe("tcp", "TCP", reachability.examine, possible=lambda visit: bool(visit.addresses)),
    Probe(
        "proxy",
        "Proxy",
        proxying.examine,
        lambda visit: visit.config.proxy is not None,
        lambda visit: visit.address is not None,
    ),
    Probe(
        "tls",
        "TLS",
        encryption.examine_implicit,
        lambda visit: visit.config.tls.mode is TlsMode.IMPLICIT,
        lambda visit: visit.address is not None,
    ),
    Probe(
        "greeting",
        "Greeting",
        greeting.examine,
        possible=lambda visit: (
            visit.address is not None and (visit.encrypted or visit.config.tls.mode is not TlsMode.IMPLICIT)
        ),
    ),
    Probe("ehlo", "EHLO", offers.examine, possible=lambda visit: visit.line is not None),
    Probe(
        "starttls",
        "STARTTLS",
        encryption.examine_starttls,
        lambda visit: visit.config.tls.mode is TlsMode.STARTTLS,
        lambda visit: visit.line is not None,
    ),
    Probe("auth", "Log-in", authentication.examine, possible=lambda visit: visit.identified and visit.line is not None),
    Probe("envelope", "Envelope (dry run)", envelope.examine, _thorough, lambda visit: visit.ready),
    Probe(
        "mail",
        "A real mail",
        mail.examine,
        lambda visit: bool(visit.plan.recipient) and not visit.plan.quick,
        lambda visit: visit.ready and visit.envelope_taken,
    ),
    Probe("capacity", "Speed and reuse", capacity.examine, _thorough, lambda visit: visit.ready),
    Probe("domain", "The sender's domain", domain.examine, _thorough),
)


def examine(plan: Plan, on_examined: Callable[[Examined], None] | None = None) -> DoctorReport:
    """Examine one relay, and return all that was found. Raises nothing that the world can cause.

    ``on_examined`` is called with each probe's part as soon as it is there, for whoever is watching.
    """
    visit = Visit(plan)
    examined: list[Examined] = []
    failed = ""
    try:
        for probe in PROBES:
            if not probe.concerns(visit):
                continue
            if probe.possible(visit):
                part = _run(probe, visit)
                failed = failed or (probe.title if part.findings and not _went_on(part) else "")
            else:
                part = Examined(probe.name, probe.title, 0.0, skipped=f"not reached, see: {failed or 'above'}")
            examined.append(part)
            if on_examined is not None:
                on_examined(part)
    finally:
        visit.hang_up()
    return DoctorReport(plan.config.endpoint, plan.config.tls.mode.value, tuple(examined))


def _went_on(part: Examined) -> bool:
    return part.worst < part.worst.ERROR


def _run(probe: Probe, visit: Visit) -> Examined:
    findings: list[Finding] = []
    with visit.timed() as watch:
        try:
            findings.extend(probe.examine(visit))
        except Exception as exc:  # noqa: BLE001 - a fault of one probe's must not hide what the others found
            findings.append(
                visit.note("doctor-at-a-loss", f"the probe {probe.name!r} failed: {type(exc).__name__}: {exc}")
            )
            visit.hang_up()
    return Examined(probe.name, probe.title, watch.seconds, tuple(findings))

"""A report as plain text: for logs, pipes, and terminals without rich."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from robust_email.doctor.findings import Severity
from robust_email.doctor.remedies import Remedies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import DoctorReport, Examined, Finding

WIDTH: Final = 100
MARKS: Final = {Severity.OK: "ok", Severity.INFO: "--", Severity.WARNING: "!!", Severity.ERROR: "XX"}
_INDENT: Final = 5


def plain_lines(report: DoctorReport, width: int = WIDTH) -> Iterator[str]:
    """The report line by line."""
    yield f"Examining {report.endpoint} (TLS: {report.tls})"
    skipping, remedies = False, Remedies()
    for part in report.examined:
        if not (skipping and part.skipped):
            yield ""
        skipping = bool(part.skipped)
        yield from plain_part(part, remedies, width)
    yield ""
    yield from _wrapped(summary(report), width, "")
    if report.cause is not None and report.cause.remedy:
        yield from _wrapped(f"What to do: {report.cause.remedy}", width, "")


def plain_part(part: Examined, remedies: Remedies, width: int = WIDTH) -> Iterator[str]:
    """One probe's part, line by line."""
    if part.skipped:
        yield f"[..] {part.title}: {part.skipped}"
        return
    yield f"[{MARKS[part.worst]}] {part.title} ({duration(part.seconds)})"
    for finding in part.findings:
        yield from _plain_finding(finding, remedies, width)


def _plain_finding(finding: Finding, remedies: Remedies, width: int) -> Iterator[str]:
    mark = "" if finding.severity is Severity.OK else f"{finding.severity.word}: "
    code = "" if finding.severity is Severity.OK else f" [{finding.code}]"
    yield from _wrapped(f"{mark}{finding.found}{code}", width, " " * _INDENT)
    if finding.remedy:
        yield from _wrapped(f"-> {remedies(finding)}", width, " " * _INDENT)


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "   " * bool(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary(report: DoctorReport) -> str:
    """One line on the whole."""
    cause = report.cause
    if cause is None:
        return f"{report.endpoint}: nothing wrong was found, in {duration(report.seconds)}."
    verdict = "mail is not accepted" if cause.severity is Severity.ERROR else "it works, with a warning"
    return f"{report.endpoint}: {verdict} [{cause.code}]: {cause.found}"


def duration(seconds: float) -> str:
    """Seconds for people."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

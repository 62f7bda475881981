"""What the doctor says: findings, each with a stable code, and the report that they make up.

The codes are part of the public interface, as is ``DoctorReport.as_dict``: monitoring may rely on them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

FORMAT: Final = 1
"""Of ``DoctorReport.as_dict``; changes only when a field goes or changes its meaning."""


class Severity(enum.IntEnum):
    """How bad a finding is; comparable."""

    OK = 0
    INFO = 1
    WARNING = 2
    """Mail is accepted today, and something should be looked after."""
    ERROR = 3
    """Mail is not accepted."""

    @property
    def word(self) -> str:
        """The name in JSON: ``ok``, ``info``, ``warning``, ``error``."""
        return self.name.lower()


EXIT_CODES: Final = {Severity.OK: 0, Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}
"""Of a run, by its worst finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. ``remedy`` says what to do and is empty where there is nothing to do."""

    code: str
    severity: Severity
    found: str
    remedy: str = ""
    seconds: float | None = None
    """How long what was measured took."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "code": self.code,
            "severity": self.severity.word,
            "found": self.found,
            "remedy": self.remedy,
            "seconds": None if self.seconds is None else round(self.seconds, 4),
        }


@dataclass(frozen=True, slots=True)
class Examined:
    """One probe's part of the report. ``skipped`` says why the probe was left out; it has no findings then."""

    probe: str
    title: str
    seconds: float
    findings: tuple[Finding, ...] = ()
    skipped: str = ""

    @property
    def worst(self) -> Severity:
        """The severity to mark the whole probe with."""
        return max((finding.severity for finding in self.findings), default=Severity.OK)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "probe": self.probe,
            "title": self.title,
            "seconds": round(self.seconds, 4),
            "skipped": self.skipped or None,
            "findings": [finding.as_dict() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All that was found about one relay, in the order in which it was looked at."""

    endpoint: str
    """``host:port``, or what stands for it where the configuration is unusable."""
    tls: str
    """``none``, ``starttls`` or ``implicit``."""
    examined: tuple[Examined, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding in order."""
        return tuple(finding for each in self.examined for finding in each.findings)

    @property
    def worst(self) -> Severity:
        """The worst finding's severity."""
        return max((each.worst for each in self.examined), default=Severity.OK)

    @property
    def cause(self) -> Finding | None:
        """The first of the worst findings: what to see to first. ``None`` where nothing needs seeing to."""
        if self.worst < Severity.WARNING:
            return None
        return next(finding for finding in self.findings if finding.severity is self.worst)

    @property
    def exit_code(self) -> int:
        """0 with nothing worse than information, 1 with a warning, 2 with an error."""
        return EXIT_CODES[self.worst]

    @property
    def seconds(self) -> float:
        """How long the whole examination took."""
        return sum(each.seconds for each in self.examined)

    def as_dict(self) -> dict[str, object]:
        """For JSON; documented in the how-to guide on the doctor, and kept stable (``FORMAT``)."""
        cause = self.cause
        return {
            "format": FORMAT,
            "endpoint": self.endpoint,
            "tls": self.tls,
            "worst": self.worst.word,
            "exit_code": self.exit_code,
            "cause": cause.code if cause else None,
            "seconds": round(self.seconds, 4),
            "probes": [each.as_dict() for each in self.examined],
        }

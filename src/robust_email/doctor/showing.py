"""A run shown to whoever asked for it: as JSON, on a terminal while it goes on, or as plain text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from robust_email.doctor.examination import examine
from robust_email.doctor.plain import plain_lines
from robust_email.doctor.remedies import Remedies
from robust_email.doctor.terminal import print_part, print_summary, rich_console

if TYPE_CHECKING:
    from robust_email.doctor.findings import DoctorReport
    from robust_email.doctor.plan import Plan


class Output(Protocol):
    """Where text is written to: a text file, or Django's wrapper of one."""

    def write(self, text: str, /) -> object:
        """Write."""


def run_and_show(plan: Plan, out: Output, *, as_json: bool = False, plain: bool = False) -> DoctorReport:
    """Examine and write the report to ``out``; with rich, probe by probe to the terminal that standard output is."""
    console = None if as_json or plain else rich_console()
    if console is None:
        report = examine(plan)
        show(report, out, as_json=as_json)
        return report
    console.print(f"Examining [bold]{plan.config.endpoint}[/] (TLS: {plan.config.tls.mode.value})\n")
    remedies = Remedies()
    report = examine(plan, on_examined=lambda part: print_part(console, part, remedies))
    print_summary(console, report)
    return report


def show(report: DoctorReport, out: Output, *, as_json: bool) -> None:
    """Write a report that is complete."""
    text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False) if as_json else "\n".join(plain_lines(report))
    out.write(text + "\n")

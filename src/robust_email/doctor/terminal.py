"""A report on a terminal, by rich: the only file that imports it. Not installed, ``plain`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robust_email.doctor.findings import Severity
from robust_email.doctor.plain import duration, summary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robust_email.doctor.findings import DoctorReport, Examined, Finding
    from robust_email.doctor.remedies import Remedies

_MARKS: Final = {
    Severity.OK: ("✔", "green"),
    Severity.INFO: ("•", "cyan"),
    Severity.WARNING: ("▲", "yellow"),
    Severity.ERROR: ("✘", "bold red"),
}
_SKIPPED: Final = "·"


def rich_console() -> Console | None:
    """Return a console on standard output, or ``None`` where rich is missing or nobody is looking."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(highlight=False)
    return console if console.is_terminal else None


def print_part(console: Console, part: Examined, remedies: Remedies) -> None:
    """Print one probe's part, as soon as it is there."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    if part.skipped:
        console.print(Text(f"{_SKIPPED} {part.title}: {part.skipped}", "dim"))
        return
    mark, style = _MARKS[part.worst]
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(width=1)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text(mark, style), Text(part.title, "bold"), Text(duration(part.seconds), "dim"))
    console.print(head)
    for finding in part.findings:
        console.print(Padding(_finding(finding, remedies), (0, 0, 0, 2)))


def _finding(finding: Finding, remedies: Remedies) -> Table | Text:
    from rich.table import Table
    from rich.text import Text

    if finding.severity is Severity.OK:
        return Text(finding.found, "dim")
    mark, style = _MARKS[finding.severity]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column()
    grid.add_row(Text(mark, style), Text.assemble(finding.found, (f"  {finding.code}", style)))
    if finding.remedy:
        grid.add_row(Text("→", "bold"), Text(remedies(finding)))
    return grid


def print_summary(console: Console, report: DoctorReport) -> None:
    """Print the end: what to see to first."""
    from rich.panel import Panel
    from rich.text import Text

    _, style = _MARKS[max(report.worst, Severity.OK)]
    text = Text(summary(report))
    if report.cause is not None and report.cause.remedy:
        text.append("\n\nWhat to do: ", "bold")
        text.append(report.cause.remedy)
    console.print()
    console.print(Panel(text, border_style=style, title="Diagnosis", title_align="left", padding=(0, 1)))

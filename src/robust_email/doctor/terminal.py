"""A report on a terminal, by rich: the only file that imports it. Not installed, ``plain`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robust_email.doctor.findings import Severity
from robust_email.doctor.plain import duration, summary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from robust_email.doctor.findings import DoctorReport, Examined, Finding

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


def print_part(console: Console, part: Examined) -> None:
    """Print one probe's part, as soon as it is there."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    if part.skipped:
        grid.add_row(Text(_SKIPPED, "dim"), Text(f"{part.title}: {part.skipped}", "dim"), "")
    else:
        mark, style = _MARKS[part.worst]
        grid.add_row(Text(mark, style), Text(part.title, "bold"), Text(duration(part.seconds), "dim"))
    for finding in part.findings:
        grid.add_row("", _finding(finding), "")
    console.print(grid)


def _finding(finding: Finding) -> Text:
    from rich.text import Text

    if finding.severity is Severity.OK:
        return Text(finding.found, "dim")
    mark, style = _MARKS[finding.severity]
    text = Text.assemble((f"{mark} ", style), finding.found, (f"  {finding.code}", style))
    if finding.remedy:
        text.append("\n→ ", "bold")
        text.append(finding.remedy)
    return text


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

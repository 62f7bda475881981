"""What the demo shows: the story's steps, the log as it grows, the mail as it was received, the attempts."""

from __future__ import annotations

import email
import email.policy
import time
from typing import TYPE_CHECKING, Final

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import EmailMessage

    from demo.attempts import Attempt
    from demo.records import Record
    from robust_email.testing import AcceptedMessage

WIDTH: Final = 116
_LEVEL_STYLES: Final = {"INFO": "green", "WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}
_HEADERS: Final = ("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted")
_STATUS_STYLES: Final = {"success": "bold green", "deferred": "yellow", "in-doubt": "magenta"}


class Display:
    """Writes to the terminal; times count from the demo's start."""

    def __init__(self) -> None:
        self.console = Console(width=WIDTH, highlight=False)
        self._begin = time.time()

    def title(self, text: str, explanation: str) -> None:
        """Open the demo."""
        self.console.print(Panel(Group(Text(text, style="bold"), Text(explanation)), box=ROUNDED, border_style="cyan"))

    def chapter(self, text: str) -> None:
        """Begin a part of the story."""
        self.console.print()
        self.console.print(Rule(f"[bold cyan]{escape(text)}", align="left", style="cyan"))

    def step(self, text: str, *, good: bool = True) -> None:
        """Say what the demo or the customer just did."""
        self.console.print(f"{self._clock(time.time())} {'[green]✓[/]' if good else '[red]✗[/]'} {escape(text)}")

    def say(self, text: str) -> None:
        """Write plain lines."""
        self.console.print(text, markup=False)

    def trouble(self, text: str) -> None:
        """Say what was broken or mended on purpose."""
        self.console.print(f"{self._clock(time.time())} [bold magenta]⚡ {escape(text)}[/]")

    def record(self, record: Record) -> None:
        """Show a line of the service's log."""
        style = _LEVEL_STYLES.get(record.level, "dim")
        head = f"{self._clock(record.time)} [{style}]│[/] "
        line = Table.grid(padding=0)
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(
            head, Text.assemble((f"{record.logger}  ", "dim"), (record.message, style if style != "green" else ""))
        )
        self.console.print(line)

    def mail(self, received: AcceptedMessage) -> None:
        """Show a mail from the octets that the server took."""
        message: EmailMessage = email.message_from_bytes(received.data, policy=email.policy.default)  # type: ignore[assignment]  # this policy makes an EmailMessage
        headers = Table.grid(padding=(0, 2))
        for name in _HEADERS:
            if name in message:
                headers.add_row(Text(name, style="bold"), Text(str(message[name])))
        text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
        body = Text(text.get_content().strip() if text else "(no text)")
        parts = f"{len(received.data):,} octets; {message.get_content_type()}"
        if html:
            parts += f"; an HTML part of {len(html.get_content()):,} characters says the same"
        group = Group(headers, Rule(style="dim"), body, Rule(style="dim"), Text(parts, style="dim"))
        place = f"message {received.order}, on connection {received.connection}"
        self.console.print(
            Panel(group, title=f"[bold]As the server received it[/] ({place})", box=ROUNDED, padding=(1, 2))
        )

    def attempts(self, attempts: Sequence[Attempt]) -> None:
        """Show one row per attempt of the task."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_lines=False)
        for heading in ("Attempt", "At", "Came to", "During", "What happened", "Next one in"):
            table.add_column(heading, overflow="fold", justify="right" if heading in {"At", "Next one in"} else "left")
        for attempt in attempts:
            table.add_row(
                f"{attempt.number} of {attempt.of}",
                f"{attempt.time - self._begin:.1f} s",
                Text(attempt.status, style=_STATUS_STYLES.get(attempt.status, "bold red")),
                attempt.phase,
                Text(attempt.detail),
                f"{attempt.retry_in:.1f} s" if attempt.retry_in is not None else "",
            )
        self.console.print(table)

    def verdict(self, text: str, *, good: bool) -> None:
        """Close the demo."""
        style = "green" if good else "red"
        self.console.print(Panel(Text(text, style=f"bold {style}"), box=ROUNDED, border_style=style))

    def _clock(self, moment: float) -> str:
        return f"[dim]{moment - self._begin:6.2f} s[/]"

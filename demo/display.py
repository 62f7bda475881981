"""What the demo shows: the story's steps, the log as it grows, the mail as it was received, the attempts."""

from __future__ import annotations

import email
import email.policy
import re
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
_LEVEL_STYLES: Final = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}
_SOURCES: Final = {"robust_email": "library", "authentication": "service", "celery": "celery"}
_TASK_NUMBER: Final = re.compile(r"\[([0-9a-f]{8})-[0-9a-f-]{27}\]")
_LONG: Final = 60
"""Characters from which on a sentence is shown once."""
_HEADERS: Final = ("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted")
_STATUS_STYLES: Final = {
    "success": ("accepted", "bold green"),
    "deferred": ("deferred", "yellow"),
    "in-doubt": ("in doubt", "magenta"),
}


class Display:
    """Writes to the terminal; times count from the demo's start."""

    def __init__(self) -> None:
        self.console = Console(width=WIDTH, highlight=False)
        self._begin = time.time()
        self._seen: set[str] = set()

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
        style = _LEVEL_STYLES.get(record.level, "")
        source = _SOURCES.get(record.logger.partition(".")[0], record.logger)
        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(self._clock(record.time), f"[cyan]{source:>7} │[/]", Text(self._shortened(record.message), style))
        self.console.print(line)

    def _shortened(self, message: str) -> str:
        """Leave out long sentences that were shown before, and most of a task's number."""
        sentences = re.split(r"(?<=\. )", _TASK_NUMBER.sub(r"[\1…]", message))
        repeated = self._seen.intersection(sentences) if len(sentences) > 1 else set()
        self._seen.update(sentence for sentence in sentences if len(sentence) > _LONG)
        return "".join("… " if sentence in repeated else sentence for sentence in sentences)

    def mail(self, received: AcceptedMessage) -> None:
        """Show a mail from the octets that the server took."""
        message: EmailMessage = email.message_from_bytes(received.data, policy=email.policy.default)
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
                f"{attempt.number}",
                f"{attempt.time - self._begin:.1f} s",
                Text(*_STATUS_STYLES.get(attempt.status, (attempt.status, "bold red"))),
                attempt.phase if attempt.status != "success" else "",
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

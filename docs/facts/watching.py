"""Signals, events, log lines and system checks, from the modules that make them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from typing import TYPE_CHECKING

from django.dispatch import Signal

from facts.markdown import ROOT, beside, code, plain, table
from robust_email import checks, signals
from robust_email.observability import logging as log_lines
from robust_email.observability.metrics import METRICS
from robust_email.outbox import checks as outbox_checks
from robust_email.outbox import signals as outbox_signals
from robust_email.smtp import events
from robust_email.suppression import checks as suppression_checks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


def signals_page() -> str:
    """Return the reference page of ``robust_email.signals``."""
    return f"""# Signals

In `robust_email.signals`. Receivers get `sender` (the backend's class), `message` (the `EmailMessage`) and `report`
(the `SubmissionReport`). A message that was accepted for one recipient and refused for another sends both signals, once
each. What a receiver raises is logged by Django and ends there: it can neither undo a mail nor cause a second one.

{table(("Signal", "It says"), _signals_of(signals))}
```python
from django.dispatch import receiver

from robust_email import signals


@receiver(signals.refused)
def note_refusal(sender, message, report, **kwargs):
    for recipient in report.refused:
        print(recipient, report.verdicts[recipient].reason)
```

## Of the outbox

In `robust_email.outbox.signals`, sent by the worker.

{table(("Signal", "It says"), _signals_of(outbox_signals))}"""


def _signals_of(module: ModuleType) -> list[tuple[str, str]]:
    texts = beside(module)
    return [(code(name), texts[name]) for name, each in vars(module).items() if isinstance(each, Signal)]


def events_page() -> str:
    """Return the reference page of ``robust_email.smtp.events``."""
    rows = ((code(each.__name__), _fields(each), plain(each.__doc__)) for each in told_events())
    return f"""# Events

What the engine tells whoever listens, as plain data without addresses and secrets; log lines are made of them. Listen
to all relays of the process:

```python
from robust_email.registry import registry
from robust_email.smtp.events import Event, SessionOpened


def count(event: Event) -> None:
    if isinstance(event, SessionOpened):
        print(event.endpoint, "opened a session in", round(event.seconds, 3), "s")


registry.subscribe(count)
registry.unsubscribe(count)
```

A listener is called in the submitting thread and must be quick. What it raises is logged and costs no mail. Every event
has `endpoint` (`host:port`). `PhaseTimed`, of which each mail has a handful, is told to those alone who subscribed with
`phases=True`. {{doc}}`metrics` and {{doc}}`traces </how-to/watch>` are such listeners.

{table(("Event", "Fields", "It says"), rows)}"""


def metrics_page() -> str:
    """Return the reference page of the metrics."""
    rows = ((code(each.full_name), each.type.value, ", ".join(map(code, each.labels)), each.text) for each in METRICS)
    return f"""# Metrics

Of `robust_email.observability.prometheus`; {{doc}}`/how-to/watch` says how to have them. No label holds an address, a
Message-ID or a subject. `relay` is `host:port`; in the metrics of the outbox it is the relay's name in its rows (see
{{doc}}`outbox`). `kind` is the word given to `outbox.enqueue()`, and empty for mail that passes the outbox by.

{table(("Metric", "Type", "Labels", "It says"), rows)}
The gauges of the outbox are asked of the database when scraped. Those of the pools are, too; over several processes
they are as of the last event about a pool.
"""


def told_events() -> list[type[events.Event]]:
    """Return the kinds of events that the engine makes; one that nobody tells is not announced to readers either."""
    engine = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/robust_email/smtp").rglob("*.py"))
    return [
        each
        for name, each in vars(events).items()
        if isinstance(each, type)
        and issubclass(each, events.Event)
        and re.search(rf"(?<!class ){name}\(", engine)
        and each is not events.Event
    ]


def _fields(event: type[events.Event]) -> str:
    own = [field for field in dataclasses.fields(event) if field.name != "endpoint"]
    return ", ".join(code(f"{field.name}: {field.type}") for field in own)


def checks_page() -> str:
    """Return the reference page of the system checks."""
    rows = (
        (code(number), "error" if number.split(".")[1][0] == "E" else "warning", text) for number, text in checks_()
    )
    return f"""# System checks

With `"robust_email"` in `INSTALLED_APPS`, `manage.py check` looks at every mailer of the project that is ours. It reads
settings and nothing else: no name is looked up and no connection opened.

{table(("Id", "Kind", "Meaning"), rows)}
The ids of the outbox and of suppression need `"robust_email.outbox"` and `"robust_email.suppression"` in
`INSTALLED_APPS`.

`robust_email.W005` is a check for deployment (`manage.py check --deploy`). To silence one that does not apply, use
Django's [`SILENCED_SYSTEM_CHECKS`](https://docs.djangoproject.com/en/5.2/ref/settings/#silenced-system-checks).
"""


def checks_() -> Iterator[tuple[str, str]]:
    """Yield each check's id with its meaning, from the tables in the modules' docstrings."""
    for module in (checks, outbox_checks, suppression_checks):
        for line in (module.__doc__ or "").replace("``", "`").splitlines():
            if found := re.match(r"(robust_email(?:_\w+)?\.[EW]\d{3})\s+(.+)", line):
                yield found[1], found[2]


def logging_page() -> str:
    """Return the reference page of the log lines."""
    lines = "\n".join(
        f"`{level}` {code(line)}\n: {', '.join(code(name) for name in fields)}\n"
        for level, line, fields in log_lines_()
    )
    return f"""# Log lines

Two loggers. No line holds a secret or a whole address; `ann@example.org` is written `a***@e***.org`.

* `robust_email.backend` tells the story: `INFO` for a session opened and a message accepted, `WARNING` for a connection
  error and whatever a server did not accept, `ERROR` for a mistake of configuration, which no retry can mend.
* `robust_email.transcript` is the dialogue line by line, at `DEBUG`, with passwords, addresses and bodies masked.

The words of the first two lines below are fixed: people search for them. Django shows neither
logger unless it is told to:

<!-- example: settings -->
```python
LOGGING = {{
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {{"console": {{"class": "logging.StreamHandler"}}}},
    "loggers": {{
        "robust_email": {{"handlers": ["console"], "level": "INFO"}},
        # "robust_email.transcript": {{"level": "DEBUG"}},  # the dialogue too
    }},
}}
```

## `robust_email.backend`

The fields are attributes of the log record, for a JSON formatter or a search.

{lines}
## `robust_email.transcript`

`DEBUG` {code(_transcript_line())}
: `smtp_transcript`, `smtp_sender`

The number tells sessions apart, and then comes `C` for what the client said or `S` for the server's replies.

## When the log itself is mailed

A handler such as Django's `AdminEmailHandler` may mail what it is given, perhaps through the very relay that the line
is about. That mail is not submitted: it would log again without end, or wait for a session that this thread has just
failed to get. `send_messages()` returns 0 for it.
"""


def log_lines_() -> Iterator[tuple[str, str, list[str]]]:
    """Yield level, line and fields of each call of the story's logger for an event that is told."""
    tree = ast.parse(inspect.getsource(log_lines))
    told = {each.__name__ for each in told_events()}
    for method in ast.walk(tree):
        if isinstance(method, ast.FunctionDef) and told & {_annotation(each) for each in method.args.args}:
            yield from _calls_in(method, tree)


def _annotation(argument: ast.arg) -> str:
    return argument.annotation.id if isinstance(argument.annotation, ast.Name) else ""


def _calls_in(method: ast.FunctionDef, tree: ast.Module) -> Iterator[tuple[str, str, list[str]]]:
    for node in sorted(ast.walk(method), key=lambda each: getattr(each, "lineno", 0)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "BACKEND"):
            continue
        if node.func.attr == "isEnabledFor":
            continue
        level = node.func.attr.upper()
        line = next(str(each.value) for each in node.args if isinstance(each, ast.Constant))
        extra = next(keyword.value for keyword in node.keywords if keyword.arg == "extra")
        yield ("WARNING or ERROR" if level == "LOG" else level, line, _names(extra, tree))


def _names(extra: ast.expr, tree: ast.Module) -> list[str]:
    """Return the keys of a dictionary display, or of the one that a function of the module returns."""
    if isinstance(extra, ast.Call) and isinstance(extra.func, ast.Name):
        called = extra.func.id
        function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == called)
        returned = next(node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value)
        return _names(returned, tree)
    assert isinstance(extra, ast.Dict)  # noqa: S101 - a new form of writing extra needs a new reader here
    names: list[str] = []
    for key, value in zip(extra.keys, extra.values, strict=True):
        names += [str(key.value)] if isinstance(key, ast.Constant) else _names(value, tree)
    return names


def _transcript_line() -> str:
    found = re.search(r'TRANSCRIPT\.debug\("([^"]+)"', inspect.getsource(log_lines))
    assert found is not None  # noqa: S101 - as above
    return found[1]

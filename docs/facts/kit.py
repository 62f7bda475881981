"""Public names, the testing kit and the commands, from the packages, the parser and the Makefile."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandParser

from facts.markdown import ROOT, beside, code, plain, table
from robust_email import smtp, testing
from robust_email.doctor import command as doctor
from robust_email.doctor.causes import CAUSES
from robust_email.doctor.causes.network import CONTAINER_DNS
from robust_email.testing import __main__ as catcher
from robust_email.testing import durable, faults, inmemory, pytest_plugin, schedules

if TYPE_CHECKING:
    from argparse import Action, ArgumentParser
    from collections.abc import Iterable, Iterator
    from types import ModuleType

DOCTOR = doctor._parser()  # noqa: SLF001 - what its --help is made of
CATCHER = catcher._parser()  # noqa: SLF001 - the same

IN_CONTAINER = "In a container, see below."

_ALIASES = {"Action", "BeforeFinal"}
"""Names of types, which say nothing of themselves at run time."""


def engine_page() -> str:
    """Return the reference page of ``robust_email.smtp``."""
    return f"""# The engine

`robust_email.smtp` knows no Django and no Celery, and needs nothing but the standard library. A Flask or FastAPI
project, or a script, can use it as it is:

```python
from robust_email.smtp import Envelope, MailData, SmtpConfig, SubmissionClient

client = SubmissionClient(SmtpConfig(host="127.0.0.1", port=1025))
envelope = Envelope.of("shop@example.org", ["ann@example.com"])
octets = b"From: shop@example.org\\r\\nSubject: Your order\\r\\n\\r\\nThank you.\\r\\n"
report = client.submit(envelope, MailData.from_bytes(octets))
client.close()  # when the process ends; it says goodbye to the sessions that were kept
```
<!-- check: report.accepted == ("ann@example.com",) -->

`submit()` returns a report for whatever a server or a network does, also where there was no session. It never raises
for that; `error_for(report)` gives the exception that the Django backend would raise, or `None`. One client per relay
and account, kept for the life of the process and shared by its threads, holds the pool.

## Names

{_names(smtp, [name for name in smtp.__all__ if not _is_error(name)])}
The errors are in `robust_email.smtp.errors` ({{doc}}`errors`), the events in `robust_email.smtp.events`
({{doc}}`events`).
"""


def testing_page() -> str:
    """Return the reference page of ``robust_email.testing``."""
    actions = [each for name, each in vars(faults).items() if name in testing.__all__ and _is_action(name)]
    moments = beside(faults, "At")
    return f"""# Testing kit

`robust_email.testing` is a real SMTP server that misbehaves to order, on a free port of the loopback. It imports
nothing of the library: what it says about the engine is a second opinion. {{doc}}`/how-to/test-your-application` shows
it at work.

## Names

{_names(testing, [name for name in testing.__all__ if not _is_action(name)])}
Beside it: `robust_email.testing.certs.CertificateAuthority` (needs the extra `testing`),
`robust_email.testing.proxy.CuttableProxy`, `robust_email.testing.clock.FakeClock`,
`robust_email.testing.assertions.assert_accepted_once`.

## Fixtures for pytest

{_fixtures()}
## With Django

These stand on the library itself, with its network and its clock replaced.

{_django_side()}
## Moments

{table(("At", "When"), ((code(name), text or f"In place of the reply to {name}.") for name, text in moments.items()))}
## Actions

{table(("Action", "What the server does"), ((code(each.__name__), plain(each.__doc__)) for each in actions))}
## Faults in a word

On the command line a fault is `MOMENT[/SUBJECT][*TIMES]=ACTION`: `RCPT/bob=550 5.1.1 no such user`,
`DATA*1=close`, `FINAL*2=stall`. The action is the text of a reply, or one of {_words()}.
"""


def _fixtures() -> str:
    tree = ast.parse(inspect.getsource(pytest_plugin))
    rows = (
        (code(node.name), plain(ast.get_docstring(node)))
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    )
    return table(("Fixture", "What it gives"), rows)


def _django_side() -> str:
    names = (
        (inmemory, ("InMemoryEmailBackend", "InMemoryRelay")),
        (durable, ("OutboxProbe",)),
        (schedules, ("schedules_at_once", "mail_in_memory")),
    )
    rows = (
        (code(f"{module.__name__}.{name}"), plain(getattr(module, name).__doc__))
        for module, each in names
        for name in each
    )
    return table(("Name", "What it is"), rows)


def commands_page() -> str:
    """Return the reference page of commands."""
    return f"""# Commands

{_management()}
## python -m robust_email doctor

The same examination without Django, of the relay that a URL names: `smtp+starttls://USER@HOST:PORT`, `smtps://` or
`smtp://`. The password is read from the environment variable `EMAIL_HOST_PASSWORD`, or asked for.

{_options_of(DOCTOR)}
## python -m robust_email.testing

A mail catcher in a terminal: takes every mail, relays none, and misbehaves if asked to.

{_options_of(CATCHER)}
## make

In a clone of the repository.

{table(("Command", "Meaning"), ((code(f"make {name}"), text) for name, text in make_targets()))}"""


def findings_page() -> str:
    """Return the reference page of what the doctor may find."""
    rows = (
        (code(name), cause.severity.name.lower(), cause.remedy.replace(CONTAINER_DNS, IN_CONTAINER))
        for name, cause in CAUSES.items()
        if cause.remedy
    )
    return f"""# What the doctor may find

`manage.py email_doctor` ({{doc}}`/how-to/doctor`) names each finding by a code that stays the same, in its text and in
its `--json`, and says what to do. These are the codes with something to do about them.

{table(("Code", "Severity", "What to do"), rows)}
## In a container

{_sentence(CONTAINER_DNS.partition(": ")[2])}
"""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def make_targets() -> Iterator[tuple[str, str]]:
    """Yield each target that ``make help`` lists."""
    for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([a-z-]+):.*?## (.+)", line):
            yield found[1], found[2]


def management_commands() -> dict[str, BaseCommand]:
    """Return the library's own ``manage.py`` commands."""
    source = ROOT / "src"
    return {
        path.stem: import_module(".".join(path.relative_to(source).with_suffix("").parts)).Command()
        for path in sorted((source / "robust_email").rglob("management/commands/[a-z]*.py"))
    }


def _management() -> str:
    parts = []
    for name, command in management_commands().items():
        parser = CommandParser(add_help=False)
        command.add_arguments(parser)
        parts.append(f"## manage.py {name}\n\n{command.help}\n\n{_options_of(parser)}")
    return "\n".join(parts)


def _options_of(parser: ArgumentParser) -> str:
    rows = (
        (code(_usage(action)), (action.help or "").replace("%(default)s", str(action.default)))
        for action in parser._actions  # noqa: SLF001 - a parser has no public list of its options
        if "--help" not in action.option_strings
    )
    return table(("Argument", "Meaning"), rows)


def _usage(action: Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    return ", ".join(action.option_strings) + (f" {action.metavar}" if action.metavar else "")


def _names(module: ModuleType, names: Iterable[str]) -> str:
    rows = ((code(name), plain(getattr(module, name).__doc__)) for name in names if name not in _ALIASES)
    return table(("Name", "What it is"), rows)


def _is_error(name: str) -> bool:
    each = getattr(smtp, name)
    return isinstance(each, type) and issubclass(each, smtp.errors.RobustEmailError)


def _is_action(name: str) -> bool:
    each = getattr(faults, name, None)
    return isinstance(each, type) and name not in {"Fault", "At", "Action"}


def _words() -> str:
    from robust_email.testing import notation

    return ", ".join(code(word) for word in notation._ACTIONS)  # noqa: SLF001 - its only list

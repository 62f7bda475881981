"""What the reference lists is what the code has: each setting, error, signal, check and command, and no other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.dispatch import Signal

from robust_email import options, signals
from robust_email.doctor.causes import CAUSES
from robust_email.observability.metrics import METRICS
from robust_email.outbox import conf as outbox_conf
from robust_email.outbox import signals as outbox_signals
from robust_email.outbox.models import OutboxRelay
from robust_email.outbox.states import State
from robust_email.smtp import errors
from robust_email.smtp.protocol.states import SessionState
from robust_email.suppression import conf as suppression_conf
from robust_email.suppression.management.commands.email_bounces import PASSWORD_VARIABLE
from tests.docs.pages import DOCS, ROOT, pages

if TYPE_CHECKING:
    from types import ModuleType

REFERENCE = DOCS / "reference"
CHECKS = [ROOT / "src" / "robust_email" / name for name in ("checks.py", "outbox/checks.py", "suppression/checks.py")]
SOURCES = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "robust_email").rglob("*.py")]


def test_generated_files_say_what_the_code_says(generator: ModuleType) -> None:
    """Whoever changes the code runs docs/generate.py, and looks at what it wrote."""
    stale = [str(path.relative_to(ROOT)) for path, text in generator.files() if path.read_text("utf-8") != text]
    assert stale == []


def test_every_reference_page_is_generated(generator: ModuleType) -> None:
    """No page of the reference is written by hand, so none can grow old."""
    assert {page.stem for page in REFERENCE.glob("*.md")} == set(generator.PAGES)


def test_the_readme_keeps_its_tables(generator: ModuleType) -> None:
    """A table that lost its place in the README would be written nowhere."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert generator.with_tables(readme) == readme
    assert "| `EMAIL_POOL_SIZE` | `10` |" in readme
    assert "| `InDoubt` | `smtplib.SMTPException` |" in readme


def test_settings() -> None:
    """The settings page has a row per option, and the documentation names no setting that nobody reads."""
    page = (REFERENCE / "settings.md").read_text("utf-8")
    ours = {option.setting for option in options.OPTIONS.values()}
    assert set(re.findall(r"^\| `(EMAIL_\w+)`", page, re.MULTILINE)) == ours
    outbox = {option.setting for option in outbox_conf.OPTIONS.values()}
    rows = (REFERENCE / "outbox.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(EMAIL_\w+)`", rows, re.MULTILINE)) == outbox
    suppression = {option.setting for option in suppression_conf.OPTIONS.values()}
    rows = (REFERENCE / "suppression.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(EMAIL_\w+)`", rows, re.MULTILINE)) == suppression
    known = {"EMAIL_BACKEND", PASSWORD_VARIABLE, *ours, *outbox, *suppression}
    named = {name for each in pages() for name in re.findall(r"(?<![A-Z_])EMAIL_[A-Z_]*[A-Z]", each.read_text("utf-8"))}
    assert named - known == set()


def test_errors() -> None:
    """The errors page has a section per public class, but for those whose feature has no setting yet."""
    page = (REFERENCE / "errors.md").read_text("utf-8")
    public = {name for name, each in vars(errors).items() if _is_error(name, each)}
    listed = set(re.findall(r"^## (\w+)$", page, re.MULTILINE))
    assert listed - public == set()
    assert public - listed <= {"ProxyRefused", "SigningImpossible"}


def _is_error(name: str, each: object) -> bool:
    return not name.startswith("_") and isinstance(each, type) and issubclass(each, errors.RobustEmailError)


def test_signals() -> None:
    """The signals page has a row per signal."""
    page = (REFERENCE / "signals.md").read_text("utf-8")
    both = {**vars(signals), **vars(outbox_signals)}
    names = {name for name, each in both.items() if isinstance(each, Signal)}
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == names


def test_checks() -> None:
    """The checks page has the ids that the code gives, and no other."""
    page = (REFERENCE / "checks.md").read_text("utf-8")
    source = "".join(path.read_text("utf-8").partition('"""\n\n')[2] for path in CHECKS)
    given = set(re.findall(r'id=f?"(robust_email\w*\.[EW]\d{3})"', source))
    given |= {f"robust_email.E{int(number):03}" for number in re.findall(r"subject\.error\(\s*(\d+),", source)}
    given |= {f"robust_email.W{int(number):03}" for number in re.findall(r"subject\.warning\(\s*(\d+),", source)}
    given |= {f"robust_email_outbox.{number}" for number in re.findall(r'number = "(E\d{3})"', source)}
    listed = set(re.findall(r"^\| `(robust_email\w*\.[EW]\d{3})`", page, re.MULTILINE))
    assert given - listed == set()
    assert all(f'"{number.partition(".")[2]}"' in source or number in given for number in listed)


def test_metrics() -> None:
    """The metrics page has a row per metric."""
    page = (REFERENCE / "metrics.md").read_text("utf-8")
    assert re.findall(r"^\| `(robust_email_\w+)` \|", page, re.MULTILINE) == [each.full_name for each in METRICS]


def test_log_lines() -> None:
    """The log page has each line of the story's logger that an event leads to."""
    page = (REFERENCE / "log-lines.md").read_text("utf-8")
    assert "`SMTP connection established successfully on attempt %d`" in page
    assert "`SMTP connection error on attempt %d/%d: %s`" in page
    source = "".join(SOURCES)
    for line in re.findall(r"^`[A-Z or]+` `(.+)`$", page, re.MULTILINE):
        assert f'"{line}"' in source


@pytest.mark.parametrize("state", SessionState)
def test_the_picture_has_every_state(state: SessionState) -> None:
    """The diagram shows each state of the table."""
    assert f">{state.value}</text>" in (DOCS / "pictures" / "states.svg").read_text("utf-8")


def test_the_life_of_a_row() -> None:
    """The outbox page has a row for each state."""
    page = (REFERENCE / "outbox.md").read_text("utf-8")
    assert all(f"\n| `{state.value}` |" in page for state in State)


def test_the_runbook_knows_each_state() -> None:
    """Whoever is on duty finds a row for the state he sees, of a mail and of a relay."""
    page = (DOCS / "how-to" / "runbook.md").read_text("utf-8")
    assert [state.value for state in State if f"\n| `{state.value}` |" not in page] == []
    assert [trouble.value for trouble in OutboxRelay.Trouble if f"\n| `{trouble.value}` |" not in page] == []


def test_each_alert_says_what_to_do() -> None:
    """The table of alerts has a row per rule, and no other."""
    page = (DOCS / "how-to" / "watch.md").read_text("utf-8")
    rules = re.findall(r"- alert: (\w+)", (ROOT / "deploy" / "alerts.yml").read_text("utf-8"))
    assert sorted(re.findall(r"^\| `(Email\w+)` \|", page, re.MULTILINE)) == sorted(rules)


def test_each_threat_to_accounts_has_a_test() -> None:
    """A number in the table is a number in the name of a test, and the other way round."""
    page = (DOCS / "explanation" / "accounts.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| V")]
    listed = {int(number) for row in rows for number in re.findall(r"V(\d+)", row)}
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / "service").glob("test_*.py"))
    names = " ".join(re.findall(r"def (test_v\d\w*)", sources))
    assert listed == {int(number) for number in re.findall(r"_v(\d\d)(?=_)", names)}


def test_findings() -> None:
    """The findings page has each code of the doctor that has a remedy."""
    page = (REFERENCE / "findings.md").read_text("utf-8")
    codes = {name for name, cause in CAUSES.items() if cause.remedy}
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == codes


def test_commands(generator: ModuleType) -> None:
    """The commands page has each command of manage.py that the library brings, and each make target."""
    page = (REFERENCE / "commands.md").read_text("utf-8")
    kit = generator.kit
    for name in kit.management_commands():
        assert f"## manage.py {name}\n" in page
    for name, _ in kit.make_targets():
        assert f"`make {name}`" in page

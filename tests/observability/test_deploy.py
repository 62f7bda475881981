"""The alert rules and the dashboard, held against the metrics that there are, by Prometheus' own tool."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robust_email.observability.metrics import METRICS, Type
from tests.services import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "robust-email.json").read_text("utf-8"))
NAMES = {each.full_name for each in METRICS} | {
    f"{each.full_name}_bucket" for each in METRICS if each.type is Type.HISTOGRAM
}
LABELS = {label for each in METRICS for label in each.labels} | {"le"}


def promtool(*arguments: str) -> str:
    """Run promtool; give what it says, and fail if it complains."""
    program = require_program("promtool", "promtool")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def queries() -> Iterator[str]:
    """Yield each query of the dashboard, with its variables filled in."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$relay", ".*")


def test_the_rules_are_rules() -> None:
    """Prometheus takes the alert rules as they are."""
    assert "SUCCESS" in promtool("check", "rules", str(DEPLOY / "alerts.yml"))


def test_the_rules_speak_when_they_should() -> None:
    """Each alert that wakes somebody is raised by its trouble, and by nothing else."""
    promtool("test", "rules", str(DEPLOY / "alerts_test.yml"))


def test_the_queries_of_the_dashboard_are_queries(tmp_path: Path) -> None:
    """Prometheus can read every query of the dashboard."""
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")  # JSON is YAML
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


@pytest.mark.parametrize("text", [(DEPLOY / "alerts.yml").read_text("utf-8"), "\n".join(queries())])
def test_no_query_names_a_metric_that_there_is_not(text: str) -> None:
    """Alerts and panels ask for metrics and labels that the library has."""
    named = set(re.findall(r"\brobust_email_\w+", text))
    assert named
    assert named - NAMES == set()
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", text) for label in group.split(",")}
    assert grouped - LABELS == set()


def test_every_metric_is_shown() -> None:
    """The dashboard leaves out only what another panel says in other words."""
    shown = set(re.findall(r"\brobust_email_\w+", "\n".join(queries())))
    bare = {name.removesuffix("_bucket") for name in shown}
    left_out = {each.full_name for each in METRICS} - bare
    assert left_out == {
        "robust_email_recipients_total",
        "robust_email_limits_shared",
        "robust_email_outbox_settled_total",
        "robust_email_outbox_up",
    }

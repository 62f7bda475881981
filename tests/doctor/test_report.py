"""The report: exit code by the worst finding, JSON that stays as it is, text for people, and what must be in none."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from robust_email.doctor import CAUSES, PROBES, DoctorReport, Examined, Finding, Plan, Severity, examine
from robust_email.doctor.plain import plain_lines
from robust_email.doctor.remedies import Remedies
from robust_email.doctor.showing import show
from robust_email.doctor.terminal import print_part, print_summary
from robust_email.smtp import Credentials
from robust_email.testing import At, Fault, Reply, Script, ScriptedServer
from tests.doctor.world import Relay, diagnose, surroundings

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden") / "report.json"
PASSWORD, TOKEN = "hunter2-canary", "ya29.token-canary"
CUSTOMER = "ann.customer@private.example"


def report_of(*severities: Severity) -> DoctorReport:
    """Return a report with findings so bad."""
    findings = tuple(Finding(f"code-{index}", each, "found", "remedy") for index, each in enumerate(severities))
    return DoctorReport("mail.example.com:587", "starttls", (Examined("names", "Names", 0.5, findings),))


@pytest.mark.parametrize(
    ("severities", "code", "cause"),
    [
        ((), 0, None),
        ((Severity.OK, Severity.INFO), 0, None),
        ((Severity.INFO, Severity.WARNING, Severity.WARNING), 1, "code-1"),
        ((Severity.WARNING, Severity.ERROR, Severity.ERROR), 2, "code-1"),
    ],
)
def test_the_worst_finding_decides(severities: tuple[Severity, ...], code: int, cause: str | None) -> None:
    """Exit codes 0, 1 and 2; the cause is the first of the worst."""
    report = report_of(*severities)
    assert report.exit_code == code
    assert (report.cause.code if report.cause else None) == cause


def greylisting_report() -> tuple[DoctorReport, int]:
    """Return what is found of a server that greylists, and its port."""
    with ScriptedServer(Script(faults=[Fault(At.RCPT, Reply("451 4.7.1 Greylisted"))])) as server:
        return diagnose(Relay(server.port).config()), server.port


def normalised(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without what differs from run to run: durations."""
    if isinstance(value, dict):
        return {key: 0 if key == "seconds" and each is not None else normalised(each) for key, each in value.items()}
    return [normalised(each) for each in value] if isinstance(value, list) else value


def test_json_stays_as_it_is() -> None:
    """Monitoring relies on it: names, order, codes. A change here is a change of the public interface (``FORMAT``)."""
    report, port = greylisting_report()
    out = io.StringIO()
    show(report, out, as_json=True)
    text = re.sub(r"[\d.]+ ms", "0 ms", out.getvalue().replace(str(port), "2525"))
    assert normalised(json.loads(text)) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_plain_text_has_cause_and_remedy() -> None:
    """Lines fit a terminal; what is wrong has its code and what to do."""
    report, _ = greylisting_report()
    lines = list(plain_lines(report, width=80))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "[!!] Envelope (dry run)" in text
    assert "451 4.7.1 Greylisted [greylisted]" in text
    assert "What to do: The server takes first mails only after a wait" in text


def test_a_terminal_gets_the_same() -> None:
    """Rich prints every finding and the diagnosis."""
    report, _ = greylisting_report()
    console = Console(record=True, width=100, file=io.StringIO(), highlight=False)
    for part in report.examined:
        print_part(console, part, Remedies())
    print_summary(console, report)
    text = " ".join(console.export_text().split())
    assert all(" ".join(finding.found.split()) in text for finding in report.findings)
    assert "Diagnosis" in text


def test_square_brackets_of_a_server_are_not_markup() -> None:
    """What a server says is shown, not obeyed."""
    console = Console(record=True, width=100, file=io.StringIO(), highlight=False)
    finding = Finding("greeting", Severity.OK, "220 [bold red]x[/] \\[y]")
    print_part(console, Examined("greeting", "Greeting", 0.0, (finding,)), Remedies())
    assert "220 [bold red]x[/] \\[y]" in console.export_text()


# -- secrets

PLAIN = base64.b64encode(f"\0shop\0{PASSWORD}".encode()).decode()
ECHOES = {
    "the password": PASSWORD,
    "the response": PLAIN,
    "the command": f"AUTH PLAIN {PLAIN}",
    "base64": base64.b64encode(PASSWORD.encode()).decode(),
}


@pytest.mark.parametrize("said", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("at", [At.AUTH, At.MAIL, At.RCPT])
def test_a_server_that_repeats_secrets_is_not_repeated(said: str, at: At) -> None:
    """Password and AUTH response are hidden in a server's words, and addresses are masked."""
    script = Script(faults=[Fault(at, Reply(f"535 5.7.8 no: {said} for {CUSTOMER}"))], accounts={"shop": PASSWORD})
    with ScriptedServer(script) as server:
        config = Relay(server.port, user="shop", password=PASSWORD).config()
        report = diagnose(config, sender=CUSTOMER, recipient=CUSTOMER)
    assert report.exit_code == 2
    shown = all_forms(report)
    assert "535 5.7.8 no: " in shown
    for secret in (PASSWORD, PLAIN, ECHOES["base64"], CUSTOMER, "ann.customer"):
        assert secret not in shown


def test_a_token_is_a_secret() -> None:
    """The same for an access token, alone and in its XOAUTH2 form."""
    response = base64.b64encode(f"user=shop\1auth=Bearer {TOKEN}\1\1".encode()).decode()
    script = Script(faults=[Fault(At.AUTH, Reply(f"535 5.7.8 {response} {TOKEN}"))], accounts={"shop": TOKEN})
    with ScriptedServer(script) as server:
        config = Relay(server.port).config(credentials=Credentials("shop", access_token=TOKEN))
        report = diagnose(config)
    shown = all_forms(report)
    assert TOKEN not in shown
    assert response not in shown


def test_a_plan_shows_no_secret() -> None:
    """Neither does its repr, nor an address."""
    plan = Plan(Relay(25, user="shop", password=PASSWORD).config(), sender=CUSTOMER, recipient=CUSTOMER)
    assert PASSWORD not in repr(plan)
    assert CUSTOMER not in repr(plan)


def all_forms(report: DoctorReport) -> str:
    """Return all that anybody can see of a report."""
    return "\n".join([json.dumps(report.as_dict()), *plain_lines(report, width=10_000), repr(report)])


# -- the doctor itself


def test_a_fault_of_the_doctors_own_does_not_end_the_round(smtp_server: ScriptedServer) -> None:
    """A probe that raises is reported as such, and what others can find is found."""

    def records(name: str, kind: str) -> tuple[str, ...]:
        raise ZeroDivisionError(f"{name} {kind}")

    plan = Plan(Relay(smtp_server.port).config(), "a@shop.example.com", surroundings=surroundings(records=records))
    report = examine(plan)
    assert [finding.code for finding in report.findings if finding.severity is Severity.ERROR] == ["doctor-at-a-loss"]
    assert "ZeroDivisionError" in str(report.as_dict())
    assert "envelope" in [finding.code for finding in report.findings]


def test_whoever_watches_is_told_as_it_goes(smtp_server: ScriptedServer) -> None:
    """Each part comes as soon as it is there, and all of them are in the report."""
    seen: list[Examined] = []
    plan = Plan(Relay(smtp_server.port).config(), surroundings=surroundings())
    report = examine(plan, on_examined=seen.append)
    assert tuple(seen) == report.examined


def test_quick_asks_the_server_for_a_session_only(smtp_server: ScriptedServer) -> None:
    """No name servers, no envelope, no records; and the connection is ended in good order."""
    asked: list[str] = []

    def records(name: str, kind: str) -> tuple[str, ...]:
        asked.append(f"{kind} of {name}")
        return ()

    report = diagnose(
        Relay(smtp_server.port).config(),
        quick=True,
        recipient="a@b.example",
        surroundings=surroundings(records=records),
    )
    assert [part.probe for part in report.examined] == ["configuration", "names", "tcp", "greeting", "ehlo", "auth"]
    assert asked == []
    smtp_server.wait_for(lambda server: server.commands["QUIT"] == 1)
    assert set(smtp_server.commands) == {"EHLO", "QUIT"}


LIBRARY = ROOT / "src" / "robust_email"
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in [LIBRARY / "diagnosis.py", *(LIBRARY / "doctor").rglob("*.py")]
    if "causes" not in path.parts
)


@pytest.mark.parametrize("code", CAUSES)
def test_every_code_is_used(code: str) -> None:
    """The catalogue holds nothing that no probe can find; what is bad has a remedy."""
    assert f'"{code}"' in SOURCES
    assert CAUSES[code].severity < Severity.WARNING or CAUSES[code].remedy


def test_probes_have_names_of_their_own() -> None:
    """They are keys in JSON."""
    assert len({probe.name for probe in PROBES}) == len(PROBES)

"""What is counted, by what, in one process and over forked ones; and that no label says whom a mail was for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMessage, send_mail
from django.db import connection
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from robust_email.observability.metrics import METRICS, Type
from robust_email.observability.prometheus import MetricsWriter, OutboxCollector, PoolCollector
from robust_email.outbox import enqueue
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.signals import settled
from robust_email.registry import registry
from robust_email.smtp.events import (
    CircuitClosed,
    CircuitOpened,
    GovernorDegraded,
    GovernorRestored,
    HeldBack,
    StaleAnswerUsed,
)
from robust_email.testing import At, Close, Fault, Reply, ScriptedServer, TakeThenClose
from tests.contract.ways import legacy_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing.certs import CertificateAuthority
    from robust_email.testing.pytest_plugin import ServerFactory

REFUSED = Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="nobody")


class Scrape:
    """What a scrape says."""

    def __init__(self, text: str) -> None:
        """Read it as Prometheus does."""
        self.text = text
        families = text_string_to_metric_families(text)
        self.samples = [(sample.name, sample.labels, sample.value) for each in families for sample in each.samples]

    def value(self, name: str, **labels: str) -> float:
        """Add up the samples of this name that have these labels."""
        return sum(
            value
            for found, have, value in self.samples
            if found == f"robust_email_{name}" and labels.items() <= have.items()
        )


@pytest.fixture
def counted() -> Iterator[CollectorRegistry]:
    """Count into a registry of the test's own."""
    into = CollectorRegistry()
    writer = MetricsWriter(into)
    into.register(PoolCollector())
    registry.subscribe(writer, phases=True)
    settled.connect(writer.note_settled)
    yield into
    settled.disconnect(writer.note_settled)
    registry.unsubscribe(writer)


def scrape(into: CollectorRegistry) -> Scrape:
    """Ask for everything."""
    return Scrape(generate_latest(into).decode())


def test_an_accepted_mail_is_counted(relay: ScriptedServer, counted: CollectorRegistry) -> None:
    """One mail for two is one submission, two recipients, one session that is idle, and a time for each phase."""
    send_mail("hi", "there", "shop@example.org", ["ann@example.net", "bob@example.net"])
    found, here = scrape(counted), f"{relay.host}:{relay.port}"
    assert found.value("submissions_total", relay=here, disposition="accepted", phase="await-final", kind="") == 1
    assert found.value("recipients_total", disposition="accepted") == 2
    assert found.value("submission_seconds_count", disposition="accepted") == 1
    assert found.value("sessions_opened_total", relay=here, tls="none") == 1
    assert found.value("sessions", relay=here, state="idle") == 1
    assert found.value("sessions", relay=here, state="leased") == 0
    assert found.value("sessions_most", relay=here) == 10
    phases = {labels["phase"] for name, labels, _ in found.samples if name == "robust_email_phase_seconds_count"}
    assert phases - {"body"} == {"resolve", "connect", "greeting", "ehlo", "mail", "rcpt", "await-final"}
    assert found.value("phase_seconds_count", phase="rcpt") == 2


def test_phases_fill_the_time(relay: ScriptedServer, counted: CollectorRegistry) -> None:
    """The phases of a mail follow each other: together they take no longer than the submission."""
    for _ in range(3):
        send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
    found = scrape(counted)
    phases = found.value("phase_seconds_sum")
    assert 0 < phases <= found.value("submission_seconds_sum")


def test_a_large_mail_has_a_time_for_its_body(relay: ScriptedServer, counted: CollectorRegistry) -> None:
    """Writing what the kernel does not take at once is a phase of its own, before the wait for the final reply."""
    send_mail("hi", 200_000 * "there is more of it\n", "shop@example.org", ["ann@example.net"])
    found = scrape(counted)
    assert found.value("phase_seconds_count", phase="body") == 1
    assert found.value("phase_seconds_count", phase="await-final") == 1
    assert found.value("phase_seconds_sum", phase="body") > 0


def test_phases_under_tls(
    smtp_faults: ServerFactory, smtp_certs: CertificateAuthority, counted: CollectorRegistry
) -> None:
    """STARTTLS and AUTH have their own times, the handshake as well, and EHLO counts twice."""
    server = smtp_faults(starttls=smtp_certs.server_context(), accounts={"shop": "secret"})
    where = {"EMAIL_HOST": "localhost", "EMAIL_PORT": server.port, "EMAIL_SSL_CAFILE": str(smtp_certs.ca_file)}
    with legacy_settings(**where, EMAIL_USE_TLS=True, EMAIL_HOST_USER="shop", EMAIL_HOST_PASSWORD="secret"):
        send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
    found = scrape(counted)
    for phase, times in {"starttls": 1, "tls": 1, "auth": 1, "ehlo": 2}.items():
        assert found.value("phase_seconds_count", phase=phase) == times, phase
    assert found.value("sessions_opened_total", tls="TLSv1.3") == 1


def test_what_went_wrong_is_counted_by_phase(relay: ScriptedServer, counted: CollectorRegistry) -> None:
    """A refused recipient, a lost greeting with its retry, and a mail in doubt: each by where it happened."""
    relay.add_fault(REFUSED)
    relay.add_fault(Fault(At.GREETING, Close(), times=1))
    message = EmailMessage("hi", "there", "shop@example.org", ["nobody@example.net"])
    with pytest.raises(OSError, match="no such user"):
        message.send()
    relay.add_fault(Fault(At.FINAL, TakeThenClose()))
    with pytest.raises(OSError, match="IN DOUBT"):
        EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"]).send()
    found = scrape(counted)
    assert found.value("submissions_total", disposition="refused", phase="rcpt") == 1
    assert found.value("submissions_total", disposition="in-doubt", phase="await-final") == 1
    assert found.value("failed_attempts_total", phase="greeting", disposition="deferred") == 1
    assert found.value("retries_total") == 1
    assert found.value("sessions_closed_total") == 1


def test_what_the_relay_suffers_is_counted(counted: CollectorRegistry) -> None:
    """Stale DNS, limits, breakers and a lost store have each a metric; a breaker that closed is closed."""
    for event in (
        StaleAnswerUsed("mx:25", 60.0),
        HeldBack("mx:25", 1.0, "rate"),
        CircuitOpened("mx:25", "connect"),
        GovernorDegraded("mx:25", "gone"),
    ):
        registry.notify(event)
    found = scrape(counted)
    for name, value in {"stale_dns_answers_total": 1, "held_back_total": 1, "breaker_open": 1}.items():
        assert found.value(name, relay="mx:25") == value
    assert [value for name, _, value in found.samples if name == "robust_email_limits_shared"] == [0]
    registry.notify(CircuitClosed("mx:25", 30.0))
    registry.notify(GovernorRestored("mx:25"))
    found = scrape(counted)
    assert (found.value("breaker_open"), found.value("limits_shared")) == (0, 1)


def test_the_outbox(outbox_relay: ScriptedServer, counted: CollectorRegistry) -> None:
    """What waits is asked of the database; what became of attempts is counted with the caller's word for the mail."""
    outbox_relay.add_fault(Fault(At.RCPT, Reply("451 4.7.1 later"), subject="bob"))
    enqueue(EmailMessage("hi", "there", "shop@example.org", ["ann@example.net"]), kind="invoice")
    enqueue(EmailMessage("hi", "there", "shop@example.org", ["bob@example.net"]), kind="offer")
    counted.register(OutboxCollector())
    found = scrape(counted)
    assert found.value("outbox_up") == 1
    assert (found.value("outbox_mails", state="queued"), found.value("outbox_mails", state="due")) == (2, 2)
    assert found.value("outbox_waiting", relay="default") == 2
    assert run_batch().claimed == 2
    found = scrape(counted)
    assert found.value("submissions_total", kind="invoice", disposition="accepted") == 1
    assert found.value("outbox_settled_total", relay="default", kind="invoice", state="accepted") == 1
    assert found.value("outbox_settled_total", relay="default", kind="offer", state="queued") == 1
    assert (found.value("outbox_mails", state="queued"), found.value("outbox_mails", state="due")) == (1, 0)


def test_a_dead_database_costs_no_other_metric(
    relay: ScriptedServer, counted: CollectorRegistry, caplog: pytest.LogCaptureFixture, db: None
) -> None:
    """A scrape without the database says so, and says the rest."""
    send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
    counted.register(OutboxCollector())

    def refuse(*_: object) -> None:
        raise OSError("the database is away")

    with connection.execute_wrapper(refuse):
        found = scrape(counted)
    assert [value for name, _, value in found.samples if name == "robust_email_outbox_up"] == [0]
    assert found.value("submissions_total") == 1
    assert "could not be looked at" in caplog.text


def test_no_label_says_whom_a_mail_was_for(outbox_relay: ScriptedServer, counted: CollectorRegistry) -> None:
    """Addresses, subjects and Message-IDs are in no metric, whatever became of the mail."""
    outbox_relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 canary-bob@example.net is unknown"), subject="bob"))
    for name in ("canary-ann", "canary-bob"):
        send_mail("canary subject", "canary body", "canary-shop@example.org", [f"{name}@example.net"])
    run_batch()
    counted.register(OutboxCollector())
    text = scrape(counted).text
    assert "robust_email_submissions_total{" in text
    assert "canary" not in text
    assert "@" not in text


def test_what_is_scraped_is_what_is_documented(relay: ScriptedServer, counted: CollectorRegistry, db: None) -> None:
    """Every metric of the list is there with its type, and no other."""
    counted.register(OutboxCollector())
    families = {each.name: each.type for each in text_string_to_metric_families(generate_latest(counted).decode())}
    wanted = {f"robust_email_{each.name}": each.type.value for each in METRICS}
    assert {name: kind for name, kind in families.items() if not name.endswith("_created")} == wanted
    assert all(each.buckets for each in METRICS if each.type is Type.HISTOGRAM)


@pytest.mark.parametrize(("folder", "children", "accepted"), [("", 0, 1), ("shared", 3, 7)])
def test_a_scrape_adds_up_over_forked_processes(
    smtp_server: ScriptedServer, tmp_path: Path, folder: str, children: int, accepted: int
) -> None:
    """By itself a process tells of its own mails; with the shared folder one scrape has those of all."""
    smtp_server.add_fault(REFUSED)
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    if folder:
        (tmp_path / folder).mkdir()
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path / folder)
    script = Path(__file__).with_name("scraping.py")
    command = [sys.executable, str(script), smtp_server.host, str(smtp_server.port), str(children)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    found = Scrape(done.stdout)
    assert found.value("submissions_total", disposition="accepted") == accepted == len(smtp_server.accepted)
    assert found.value("submissions_total", disposition="refused") == children + 1
    assert found.value("submission_seconds_count") == accepted + children + 1
    assert found.value("phase_seconds_count", phase="await-final") >= accepted
    assert found.value("outbox_up") == 1
    assert found.value("sessions_opened_total") == smtp_server.connections
    assert not re.search(r"pid=", done.stdout)

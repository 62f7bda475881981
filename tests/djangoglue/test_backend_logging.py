"""What the log says, word for word where the brief has the words, and what it never says."""

from __future__ import annotations

import logging
import smtplib
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMessage

from robust_email.backend import RobustSMTPEmailBackend
from robust_email.observability.logging import open_transcript
from robust_email.registry import registry
from robust_email.smtp.events import AfterAcceptanceTrouble, StaleAnswerUsed
from robust_email.testing import At, Close, Fault, Reply, Script, ScriptedServer
from tests.contract.ways import by_hand, dead_port, letter, where

if TYPE_CHECKING:
    from robust_email.testing.pytest_plugin import ServerFactory

LOGGER = "robust_email.backend"


def backend_for(server: ScriptedServer, **more: Any) -> RobustSMTPEmailBackend:  # noqa: ANN401 - any option
    """Build a backend that retries without a pause."""
    built: RobustSMTPEmailBackend = by_hand(
        RobustSMTPEmailBackend, timeout=5, connection_retry_delay=0, **where(server), **more
    )
    return built


def lines(caplog: pytest.LogCaptureFixture, logger: str = LOGGER) -> list[tuple[str, str]]:
    """Give level and text of each line."""
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == logger]


def facts(caplog: pytest.LogCaptureFixture, start: str) -> dict[str, Any]:
    """Give the extra fields of the first line that begins so."""
    record = next(record for record in caplog.records if record.getMessage().startswith(start))
    return {name: value for name, value in vars(record).items() if name.startswith("smtp_")}


def test_the_briefs_lines(smtp_faults: ServerFactory, caplog: pytest.LogCaptureFixture) -> None:
    """Two connection errors and a success read as the brief has them, with the same facts as fields."""
    caplog.set_level(logging.INFO, LOGGER)
    server = smtp_faults(Fault(At.GREETING, Close(), times=1), Fault(At.EHLO, Reply("451 4.3.0 not now"), times=1))
    assert backend_for(server).send_messages([letter()]) == 1
    endpoint = f"{server.host}:{server.port}"
    found = lines(caplog)
    assert [level for level, _ in found] == ["WARNING", "WARNING", "INFO", "INFO"]
    assert found[0][1] == "SMTP connection error on attempt 1/3: the server closed the connection"
    assert found[1][1] == "SMTP connection error on attempt 2/3: 451 4.3.0 not now"
    assert found[2][1] == "SMTP connection established successfully on attempt 3"
    assert " accepted by " in found[3][1]
    second = facts(caplog, "SMTP connection error on attempt 2/3")
    assert second == {
        "smtp_endpoint": endpoint,
        "smtp_attempt": 2,
        "smtp_attempts": 3,
        "smtp_retry_in": 0,
        "smtp_phase": "ehlo",
        "smtp_disposition": "deferred",
        "smtp_scope": "endpoint",
        "smtp_code": 451,
        "smtp_enhanced_code": "4.3.0",
        "smtp_failure": None,
    }
    accepted = facts(caplog, "Message ")
    assert (accepted["smtp_accepted"], accepted["smtp_refused"], accepted["smtp_code"]) == (1, 0, 250)


def test_a_first_success_is_attempt_1(smtp_server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """The line that the brief looks for, once per session and not per message."""
    caplog.set_level(logging.INFO, LOGGER)
    for _ in range(2):
        backend_for(smtp_server).send_messages([letter()])
    opened = [text for _, text in lines(caplog) if "established" in text]
    assert opened == ["SMTP connection established successfully on attempt 1"]


def test_refusals_are_warnings_even_when_silenced(smtp_faults: ServerFactory, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal, a deferral, a partial acceptance and a mail in doubt: one WARNING each, fail_silently or not."""
    server = smtp_faults(
        Fault(At.RCPT, Reply("550 5.1.1 <bad@example.org>: no such user"), subject="bad"),
        Fault(At.RCPT, Reply("450 4.2.1 later"), subject="busy"),
        Fault(At.FINAL, Close(), message=3, times=1),
    )
    backend = backend_for(server, fail_silently=True)
    some = EmailMessage("s", "b", "shop@example.org", ["ann@example.org", "bad@example.org", "busy@example.org"])
    assert backend.send_messages([some]) == 1
    assert backend.send_messages([letter("bad@example.org")]) == 0
    warnings = [text for level, text in lines(caplog) if level == "WARNING"]
    assert "not accepted by" in warnings[0]
    assert "for 2 of 3 recipient(s) (1 refused, 1 deferred)" in warnings[0]
    assert "for 1 of 1 recipient(s) (1 refused): 550 5.1.1 <b***@e***.org>: no such user" in warnings[1]
    assert len(warnings) == 2


def test_mistakes_of_configuration_are_errors_even_when_silenced(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password is an ERROR in the log though fail_silently lets the caller believe in nothing wrong."""
    with ScriptedServer(Script(accounts={"user": "right"})) as server:
        backend = backend_for(server, username="user", password="hunter2", fail_silently=True)
        assert backend.send_messages([letter()]) == 0
        assert backend.open() is None
    errors = [text for level, text in lines(caplog) if level == "ERROR"]
    assert any(text.startswith("SMTP connection error on attempt 1/3: 535") for text in errors)
    assert any("not accepted by" in text for text in errors)


def test_no_line_holds_a_secret_or_an_address(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, through a whole session with log-in and a server that repeats everything: nothing but masks."""
    caplog.set_level(logging.DEBUG, "robust_email")
    faults = [
        Fault(At.MAIL, Reply("250 2.1.0 shop-canary@example.org ok")),
        Fault(At.RCPT, Reply("550 5.1.1 <ann-canary@example.org> unknown"), subject="ann-canary"),
    ]
    with ScriptedServer(Script(faults=faults, accounts={"user-canary@example.org": "pass-canary"})) as server:
        backend = backend_for(server, username="user-canary@example.org", password="pass-canary")
        message = EmailMessage("subject-canary", "body-canary", "shop-canary@example.org", ["ann-canary@example.org"])
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            backend.send_messages([message])
    assert "canary" not in caplog.text
    assert "canary" not in str(refused.value)
    transcript = [text for _, text in lines(caplog, "robust_email.transcript")]
    assert any("C: AUTH" in line and line.endswith("***") for line in transcript)
    assert any(line.endswith("C: RCPT TO:<a***@e***.org>") for line in transcript)


def test_the_transcript_is_silent_unless_asked_for(
    smtp_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Above DEBUG no line of the dialogue is made."""
    caplog.set_level(logging.INFO, "robust_email")
    backend_for(smtp_server).send_messages([letter()])
    assert lines(caplog, "robust_email.transcript") == []
    assert open_transcript() is None


def test_other_events_have_their_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A dead resolver that is bridged is a WARNING; trouble after acceptance is worth a line and no more."""
    caplog.set_level(logging.DEBUG, LOGGER)
    registry.notify(StaleAnswerUsed("mail.example.org:25", 61.4))
    registry.notify(AfterAcceptanceTrouble("mail.example.org:25", 1, "bob@example.org: RSET was refused"))
    assert lines(caplog) == [
        ("WARNING", "DNS does not answer for mail.example.org:25; using the addresses it gave 61 seconds ago"),
        ("INFO", "After mail.example.org:25 had accepted a message: b***@e***.org: RSET was refused"),
    ]


def test_what_a_handler_raises_costs_no_mail(smtp_server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A log handler that raises is shown on stderr, as logging shows its own errors; the mail is accepted."""

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(record.name)

    logger, handler = logging.getLogger(LOGGER), Failing()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        assert backend_for(smtp_server).send_messages([letter()]) == 1
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert "RuntimeError: robust_email.backend" in capsys.readouterr().err


def test_a_handler_that_causes_an_event_of_the_same_relay_comes_to_an_end() -> None:
    """An event that a log handler causes while it is given one about the same relay is not logged in turn."""
    event, calls = StaleAnswerUsed("mail.example.org:25", 1.0), []

    class Echo(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            calls.append(record)
            registry.notify(event)

    logger, handler = logging.getLogger(LOGGER), Echo()
    logger.addHandler(handler)
    try:
        registry.notify(event)
    finally:
        logger.removeHandler(handler)
    assert len(calls) == 1


def test_an_unreachable_relay_is_three_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt has its line; the caller gets the error."""
    backend = by_hand(RobustSMTPEmailBackend, timeout=5, connection_retry_delay=0, **dead_port())
    with pytest.raises(ConnectionRefusedError):
        backend.send_messages([letter()])
    texts = [text for _, text in lines(caplog)]
    assert [text[: len("SMTP connection error on attempt 1/3")] for text in texts[:3]] == [
        f"SMTP connection error on attempt {number}/3" for number in (1, 2, 3)
    ]

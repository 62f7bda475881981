"""Canaries: addresses and secrets that others log, by every way into a record, and none comes out of a handler."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from django.core.mail import EmailMessage
from hypothesis import given
from hypothesis import strategies as st

from robust_email.observability.redaction import RedactingFilter, redact_event, redacted
from robust_email.testing import At, Fault, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer

ANN = "canary.ann@example.org"


def fail() -> None:
    """Raise an error that names somebody."""
    raise OSError(f"no such user {ANN}")


class Written:
    """A logger with one handler and what that wrote."""

    def __init__(self, formatter: logging.Formatter, *, filtered: bool) -> None:
        """Redact by the filter, or leave that to the formatter."""
        self._stream = io.StringIO()
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(formatter)
        if filtered:
            handler.addFilter(RedactingFilter())
        self.handler = handler
        self.logger = logging.getLogger(f"shop.{id(self)}")
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        self.logger.addHandler(handler)

    @property
    def text(self) -> str:
        """What a reader of the log sees."""
        return self._stream.getvalue()


@pytest.fixture
def plain() -> Written:
    """Log with every field that a formatter may show."""
    return Written(logging.Formatter("%(levelname)s %(message)s %(extra)s", defaults={"extra": ""}), filtered=True)


@pytest.fixture
def structured() -> Written:
    """Log by structlog's formatter for records of plain logging, as JSON."""
    return Written(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), structlog.processors.format_exc_info, redact_event],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        ),
        filtered=False,
    )


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (f"to {ANN}", "to c***@e***.org"),
        (f"'Ann' <{ANN}>, bob@example.net", "'Ann' <c***@e***.org>, b***@e***.net"),
        ("smtp://shop:canary-pw@mx.example.org:587", "smtp://mx.example.org:587"),
        ("AUTH PLAIN AGNhbmFyeQBjYW5hcnk=", "AUTH PLAIN ***"),
        ("Authorization: Bearer canary.canary.canary", "Authorization: *** ***"),
        ("password=canary-pw, next", "password=***, next"),
        ('{"EMAIL_HOST_PASSWORD": "canary pw"}', '{"EMAIL_HOST_PASSWORD": ***}'),
        ("{'api_key': 'canary'}", "{'api_key': ***}"),
        ("nothing to hide", "nothing to hide"),
        ("a password is needed", "a password is needed"),
    ],
)
def test_what_a_text_becomes(said: str, written: str) -> None:
    """An address is recognisable and no more; a secret is gone; all else is as it was."""
    assert redacted(said) == written


def test_every_way_into_a_record(plain: Written) -> None:
    """Arguments, extras, exceptions and stacks are redacted, and nothing else is lost."""
    plain.logger.warning("mail to %s failed with %d", ANN, 550)
    plain.logger.info("extra", extra={"extra": {"to": [ANN], "password": "canary-pw", "count": 3}})
    try:
        fail()
    except OSError:
        plain.logger.exception("failed", stack_info=True)
    assert "canary" not in plain.text.replace("canary_", "")
    assert "WARNING mail to c***@e***.org failed with 550" in plain.text
    assert "{'to': ['c***@e***.org'], 'password': '***', 'count': 3}" in plain.text
    assert "OSError: no such user c***@e***.org" in plain.text
    assert "test_every_way_into_a_record" in plain.text


def test_structlog_writes_the_same(structured: Written) -> None:
    """Records of plain logging with extras become JSON without canaries."""
    structured.logger.warning("to %s", ANN, extra={"recipients": [ANN], "auth_token": "canary", "smtp_code": 250})
    found = json.loads(structured.text)
    assert found == {
        "event": "to c***@e***.org",
        "recipients": ["c***@e***.org"],
        "auth_token": "***",
        "smtp_code": 250,
    }


def test_events_of_structlog_itself() -> None:
    """As a processor it redacts the event, its keys, and the text of an exception."""
    lines: list[str] = []

    class Sink:
        def msg(self, line: str) -> None:
            lines.append(line)

        info = error = msg

    log = structlog.wrap_logger(
        Sink(), [structlog.processors.format_exc_info, redact_event, structlog.processors.JSONRenderer()]
    )
    try:
        fail()
    except OSError:
        log.exception("failed", to=ANN, headers={"To": ANN, "X-Token": "canary"})
    [line] = lines
    assert "canary" not in line
    assert json.loads(line)["headers"] == {"To": "c***@e***.org", "X-Token": "***"}


def test_a_traceback_behind_our_own_line(plain: Written, structured: Written) -> None:
    """Our lines keep their Message-ID; an exception behind them, which somebody else raised, is redacted."""
    for written in (plain, structured):
        logger = logging.getLogger(f"robust_email.test.{id(written)}")
        logger.addHandler(written.handler)
        logger.propagate = False
        try:
            fail()
        except OSError:
            logger.exception("Message %s failed", "<123@shop.example.org>")
        assert "Message <123@shop.example.org> failed" in written.text
        assert "OSError: no such user c***@e***.org" in written.text


@pytest.mark.skipif(sys.hexversion < 0x030C0000, reason="before Python 3.12 a filter cannot replace a record")
def test_other_handlers_see_the_record_as_it_was(plain: Written) -> None:
    """A handler without the filter, for a place where addresses may be, has them."""
    stream = io.StringIO()
    plain.logger.addHandler(logging.StreamHandler(stream))
    plain.logger.warning("to %s", ANN)
    assert ANN in stream.getvalue()
    assert ANN not in plain.text


def test_our_own_lines_are_as_the_brief_has_them(plain: Written, relay: ScriptedServer) -> None:
    """The filter changes none of our lines, whose fields are there for a formatter."""
    seen: list[logging.LogRecord] = []
    ours = logging.getLogger("robust_email.backend")
    keep = Keeping(seen)
    ours.addHandler(plain.handler)
    ours.addHandler(keep)
    level = ours.level
    ours.setLevel(logging.INFO)
    relay.add_fault(Fault(At.RCPT, Reply(f"550 5.1.1 {ANN} is unknown"), subject="canary"))
    message = EmailMessage("hi", "there", "shop@example.org", ["ann@example.net", ANN])
    try:
        message.send()
    finally:
        ours.removeHandler(plain.handler)
        ours.removeHandler(keep)
        ours.setLevel(level)
    assert "INFO SMTP connection established successfully on attempt 1" in plain.text
    assert vars(message)["smtp_report"].message_id in plain.text
    assert "canary" not in plain.text
    assert [record.getMessage() for record in seen] == [
        re.sub(r"^[A-Z]+ | $", "", line) for line in plain.text.splitlines()
    ]
    assert all(vars(record)["smtp_endpoint"] == f"{relay.host}:{relay.port}" for record in seen)


class Keeping(logging.Handler):
    """Keeps records in a list."""

    def __init__(self, seen: list[logging.LogRecord]) -> None:
        """Keep them there."""
        super().__init__()
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._seen.append(record)


LOCAL = st.from_regex(r"[a-z0-9_+-]{3,20}", fullmatch=True)


@given(before=st.text(), local=LOCAL, after=st.text())
def test_no_address_survives(before: str, local: str, after: str) -> None:
    """Whatever stands around it, an address does not come through; twice is as once; nothing raises."""
    once = redacted(f"{before} {local}@example.org {after}")
    assert f"{local}@example.org" not in once
    assert redacted(redacted(once)) == redacted(once)


LOGGED = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.just(ANN), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner)),
)


@given(value=LOGGED)
def test_no_structure_hides_one(value: Any) -> None:  # noqa: ANN401 - anything that people log
    """However deep it lies, in whatever it is wrapped."""
    assert ANN not in repr(redact_event(None, "info", {"event": "x", "value": value}))


@pytest.fixture(autouse=True)
def no_logger_is_left_changed() -> Iterator[None]:
    """Check that a test took its handlers away."""
    before = list(logging.getLogger("robust_email.backend").handlers)
    yield
    assert logging.getLogger("robust_email.backend").handlers == before

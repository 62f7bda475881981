"""Handing over by a backend that is not ours: the octets it gets, and the coarse verdict that it deserves."""

from __future__ import annotations

import smtplib
import socket
from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend

from robust_email.backend import RobustSMTPEmailBackend
from robust_email.outbox import enqueue
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage, Priority, SubmissionAttempt
from robust_email.outbox.replay import stored_message
from robust_email.smtp.lane import Lane
from robust_email.testing import At, Fault, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.smtp import Submission
    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)

HERE = "tests.outbox.test_other_backends"


class Raising(BaseEmailBackend):
    """Raises, or returns, what the test wants."""

    outcome: object = 1
    calls = 0

    def send_messages(self, email_messages: Any) -> Any:  # noqa: ANN401 - Django's
        """Do so."""
        type(self).calls += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Hooked(RobustSMTPEmailBackend):
    """A subclass with a hook of Django's own, so the pool may not be used past it."""

    def _send(self, email_message: Any) -> bool:  # noqa: ANN401 - Django's
        return super()._send(email_message)


class Resending(RobustSMTPEmailBackend):
    """A subclass that puts its own before the call."""

    def send_messages(self, email_messages: Any) -> int:  # noqa: ANN401 - Django's
        """Do as ours."""
        return super().send_messages(list(email_messages))


class Plain(RobustSMTPEmailBackend):
    """A subclass that overrides nothing of what the pool passes by."""


class HttpError(OSError):
    """As anymail's errors are."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code


def message() -> EmailMultiAlternatives:
    """Make one with all that a message can have."""
    made = EmailMultiAlternatives(
        "Grüße",
        "text",
        "Shop <shop@example.org>",
        ["Ann <ann@example.net>"],
        cc=["cc@example.net"],
        bcc=["bcc@example.net"],
        reply_to=["help@example.org"],
        headers={"X-Shop": "yes"},
    )
    made.attach_alternative("<p>text</p>", "text/html")
    made.attach("data.bin", b"\x00\x01\xff", "application/octet-stream")
    return made


def raising() -> type[Raising]:
    """Return the class that the setting's dotted path names."""
    import tests.outbox.test_other_backends as module  # under the name by which it is imported there

    module.Raising.calls = 0
    return module.Raising


def test_a_backend_gets_the_exact_octets(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """What a serialising backend gets from ``message().as_bytes()`` is what was stored; the verdict is coarse."""
    settings.EMAIL_OUTBOX_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    row = enqueue(message())
    run_batch()
    [received] = mail.outbox
    assert received.message().as_bytes() == bytes(row.content or b"")
    row.refresh_from_db()
    assert row.state == "accepted"
    assert "coarse" in SubmissionAttempt.objects.get().reply


def test_attributes_are_there_for_those_who_read_them(outbox_url: str, relay: ScriptedServer) -> None:
    """Subject, bodies, attachment, addresses and headers are parsed out; only open recipients are named."""
    row = enqueue(message())
    made = stored_message(bytes(row.content or b""), row.reverse_path, ["ann@example.net", "bcc@example.net"])
    assert (made.subject, made.body.strip(), made.from_email) == ("Grüße", "text", "Shop <shop@example.org>")
    assert (made.to, made.cc, made.bcc) == (["Ann <ann@example.net>"], [], ["bcc@example.net"])
    assert made.reply_to == ["help@example.org"]
    assert made.extra_headers["X-Shop"] == "yes"
    assert made.extra_headers["Message-ID"] == row.message_id
    [(content, mimetype)] = made.alternatives
    assert (str(content).strip(), mimetype) == ("<p>text</p>", "text/html")
    [attachment] = made.attachments
    assert tuple(attachment) == ("data.bin", b"\x00\x01\xff", "application/octet-stream")


@pytest.mark.parametrize(
    ("outcome", "state", "disposition", "waits_for_relay"),
    [
        (1, "accepted", "accepted", False),
        (None, "accepted", "accepted", False),
        (0, "queued", "deferred", False),
        (smtplib.SMTPRecipientsRefused({"ann@example.net": (550, b"no such user")}), "queued", "deferred", False),
        (smtplib.SMTPDataError(554, b"no spam"), "refused", "refused", False),
        (smtplib.SMTPDataError(451, b"later"), "queued", "deferred", False),
        (smtplib.SMTPServerDisconnected("closed"), "queued", "in-doubt", False),
        (TimeoutError("timed out"), "queued", "in-doubt", False),
        (ConnectionRefusedError("refused"), "queued", "deferred", True),
        (socket.gaierror(-2, "unknown"), "queued", "deferred", True),
        (smtplib.SMTPAuthenticationError(535, b"no"), "queued", "refused", True),
        (HttpError(429), "queued", "deferred", False),
        (HttpError(503), "queued", "deferred", False),
        (HttpError(401), "queued", "refused", True),
        (HttpError(422), "refused", "refused", False),
        (ValueError("broken"), "refused", "refused", False),
    ],
    ids=str,
)
def test_a_coarse_verdict(  # noqa: PLR0917 - pytest passes by name
    outbox_url: str,
    relay: ScriptedServer,
    settings: Settings,
    outcome: object,
    state: str,
    disposition: str,
    *,
    waits_for_relay: bool,
) -> None:
    """A return value or an exception says this much, and a lost connection is a doubt."""
    settings.EMAIL_OUTBOX_BACKEND = f"{HERE}.Raising"
    raising().outcome = outcome
    row = enqueue(message())
    run_batch()
    row.refresh_from_db()
    attempt = SubmissionAttempt.objects.get()
    assert (row.state, attempt.disposition, row.waits_for_relay) == (state, disposition, waits_for_relay)


def test_a_lost_connection_is_held_where_asked(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """With ``hold`` a backend that lost its connection is not called again by itself."""
    settings.EMAIL_OUTBOX_BACKEND = f"{HERE}.Raising"
    backend = raising()
    backend.outcome = ConnectionResetError("reset")
    row = enqueue(message(), in_doubt="hold")
    run_batch()
    run_batch()
    row.refresh_from_db()
    assert (row.state, backend.calls) == ("in-doubt", 1)


def test_a_subclass_with_hooks_keeps_its_report(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """A backend of ours that overrides ``_send`` is called, and its true report is used: no coarse verdict."""
    settings.EMAIL_OUTBOX_BACKEND = f"{HERE}.Hooked"
    relay.add_fault(Fault(At.RCPT, Reply("451 4.7.1 later"), subject="cc@", times=1))
    row = enqueue(message())
    run_batch()
    row.refresh_from_db()
    standings = dict(row.recipients.values_list("address", "standing"))
    assert standings == {"ann@example.net": "accepted", "cc@example.net": "deferred", "bcc@example.net": "accepted"}
    OutboxMessage.objects.update(next_attempt_at=row.created_at)
    run_batch()
    assert [each.forward_paths for each in relay.accepted] == [
        ("ann@example.net", "bcc@example.net"),
        ("cc@example.net",),
    ]
    assert relay.accepted[0].data == relay.accepted[1].data == bytes(row.content or b"")


def route(submission: Submission) -> str | None:
    """Route what a row's kind and priority are to become."""
    return "second" if submission.kind == "newsletter" or submission.lane is Lane.PRIORITY else None


@pytest.mark.parametrize(
    ("options", "name"),
    [({"kind": "newsletter"}, "second"), ({"priority": Priority.HIGH}, "second"), ({}, "first")],
    ids=["kind", "priority", "neither"],
)
@pytest.mark.parametrize("backend", ["Hooked", "Resending", "Plain"])
def test_a_subclass_has_kind_and_lane(  # noqa: PLR0917 - pytest passes by name
    outbox_url: str,
    relay: ScriptedServer,
    smtp_faults: Callable[..., ScriptedServer],
    settings: Settings,
    options: dict[str, Any],
    name: str,
    backend: str,
) -> None:
    """Whatever it overrides, limits, lanes and routes are the same as for a backend that overrides nothing."""
    second = smtp_faults()
    settings.EMAIL_RELAYS = [{}, {"name": "second", "host": second.host, "port": second.port}]
    settings.EMAIL_RELAY_ROUTER = route
    settings.EMAIL_LANE = "normal" if options else "priority"  # the mailer's, which gives way to the row's
    settings.EMAIL_OUTBOX_BACKEND = f"{HERE}.{backend}"
    row = enqueue(message(), **options)
    run_batch()
    servers = {"first": relay, "second": second}
    assert [each for each, server in servers.items() if server.accepted] == [name]
    assert servers[name].accepted[0].data == bytes(row.content or b"")

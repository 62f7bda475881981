"""Django 6.1's MAILERS: an outbox in front of a mailer, named by ``OPTIONS["using"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, send_mail
from django.test import override_settings

from robust_email import _compat
from robust_email.outbox import checks, enqueue
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer

pytestmark = [
    pytest.mark.skipif(not _compat.HAS_MAILERS, reason="MAILERS came with Django 6.1"),
    pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True),
]

OUTBOX = "robust_email.outbox.backend.OutboxEmailBackend"
SMTP = "robust_email.backend.RobustSMTPEmailBackend"


@pytest.fixture
def mailers(outbox_url: str, smtp_server: ScriptedServer) -> Iterator[dict[str, Any]]:
    """Give a project whose default mailer is the outbox in front of another one."""
    relay = {"BACKEND": SMTP, "OPTIONS": {"host": smtp_server.host, "port": smtp_server.port}}
    given = {"default": {"BACKEND": OUTBOX, "OPTIONS": {"using": "relay"}}, "relay": relay}
    with override_settings(MAILERS=given):
        yield given


def test_the_mailer_is_kept_with_the_mail(
    outbox_url: str, mailers: dict[str, Any], smtp_server: ScriptedServer
) -> None:
    """``send_mail()`` and ``enqueue()`` both go to the mailer that ``using`` names."""
    send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
    enqueue(EmailMessage("hi", "there", "shop@example.org", ["bob@example.net"]))
    assert set(OutboxMessage.objects.values_list("relay", flat=True)) == {"mailer:relay"}
    run_batch()
    assert len(smtp_server.accepted) == 2
    assert checks.check_outbox() == []


def test_a_mailer_by_name(outbox_url: str, mailers: dict[str, Any], smtp_server: ScriptedServer) -> None:
    """``relay="mailer:ALIAS"`` chooses another one for a single mail."""
    mailers["other"] = mailers["relay"]
    with override_settings(MAILERS=mailers):
        row = enqueue(EmailMessage("hi", "", "shop@example.org", ["ann@example.net"]), relay="mailer:other")
        run_batch()
    row.refresh_from_db()
    assert (row.relay, row.state) == ("mailer:other", "accepted")


@pytest.mark.parametrize(
    ("options", "number"),
    [({"using": "default"}, "E001"), ({"using": "second"}, "E002"), ({}, "E001"), ({"using": "relay", "x": 1}, "E001")],
    ids=["itself", "another outbox", "nothing", "misspelt"],
)
def test_mistakes_are_found_at_the_start(
    outbox_url: str, mailers: dict[str, Any], options: dict[str, Any], number: str
) -> None:
    """A loop, a missing ``using`` and an unknown option are errors of the system check."""
    mailers["default"] = {"BACKEND": OUTBOX, "OPTIONS": options}
    mailers["second"] = {"BACKEND": OUTBOX, "OPTIONS": {"using": "default" if number == "E002" else "relay"}}
    with override_settings(MAILERS=mailers):
        assert f"robust_email_outbox.{number}" in {message.id for message in checks.check_outbox()}


def test_a_missing_mailer_makes_the_mail_wait(outbox_url: str, mailers: dict[str, Any]) -> None:
    """A mailer that is gone is not replaced by another: its mail waits."""
    send_mail("hi", "there", "shop@example.org", ["ann@example.net"])
    with override_settings(MAILERS={"default": mailers["default"]}):
        run_batch()
    row = OutboxMessage.objects.get()
    assert (row.state, row.waits_for_relay, row.retries) == ("queued", True, 0)


def test_both_options_are_refused(outbox_url: str, mailers: dict[str, Any]) -> None:
    """A relay by name and by its options at once is an error."""
    mailers["default"]["OPTIONS"] |= {"host": "mail.example.org"}
    with override_settings(MAILERS=mailers), pytest.raises(ImproperlyConfigured, match="not both"):
        send_mail("hi", "there", "shop@example.org", ["ann@example.net"])

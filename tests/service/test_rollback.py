"""The brief's rollback instructions: back on Django's own SMTP backend, the tasks go on, with coarser verdicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.core.mail import get_connection

from authentication.core.models import User
from authentication.verification.emails import build_code_email
from authentication.verification.models import Purpose, VerificationCode
from authentication.verification.outcomes import MailOutcome, outcome_of
from authentication.verification.tasks import send_verification_email
from robust_email.testing import At, Close, Fault, Reply, ScriptedServer

if TYPE_CHECKING:
    from pytest_django import Settings

Relay = Callable[..., ScriptedServer]


@pytest.fixture
def rolled_back(relay: Relay, settings: Settings) -> Relay:
    """Give the relay factory, with the one line of the rollback instructions in the settings."""

    def start(*faults: Fault, **fields: object) -> ScriptedServer:
        server = relay(*faults, **fields)
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        return server

    return start


def attempt(code: VerificationCode) -> MailOutcome:
    message = build_code_email(code)
    message.connection = backend = get_connection()
    outcome = outcome_of(message)
    if half_open := getattr(backend, "_partial_connection", None):
        half_open.close()  # Django leaves that to the garbage collector
    return outcome


def test_the_task_still_succeeds(code: VerificationCode, rolled_back: Relay) -> None:
    """An accepted mail is a success, with the same Message-ID in the task's result."""
    server = rolled_back()
    result = send_verification_email.apply(args=(code.pk,)).get()
    assert result["status"] == "success"
    assert [message.message_id for message in server.accepted] == [result["message_id"]]


@pytest.mark.parametrize("at", [At.MAIL, At.RCPT, At.BEFORE_FINAL])
@pytest.mark.parametrize(("reply", "status"), [("451 4.7.1 later", "deferred"), ("550 5.7.1 never", "refused")])
def test_replies_are_told_apart_by_their_code(
    code: VerificationCode, rolled_back: Relay, at: At, reply: str, status: str
) -> None:
    """4yz is transient and 5yz permanent, at the sender, the recipient and the end of data."""
    rolled_back(Fault(at, Reply(reply)))
    assert attempt(code).status == status


def test_a_lost_connection_is_in_doubt(code: VerificationCode, rolled_back: Relay) -> None:
    """Django does not say whether the message had left, so nobody can know."""
    rolled_back(Fault(At.BEFORE_FINAL, Close()))
    assert attempt(code).status == "in-doubt"


def test_no_connection_is_deferred(code: VerificationCode, rolled_back: Relay, settings: Settings) -> None:
    """A port where nothing listens: the server does not have the mail."""
    rolled_back()
    settings.EMAIL_PORT = 1
    assert attempt(code).status == "deferred"


def test_a_refused_login_is_a_configuration_mistake(
    code: VerificationCode, rolled_back: Relay, settings: Settings
) -> None:
    """535 is nobody's retry."""
    rolled_back(accounts={"shop": "right"})
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "shop", "wrong"
    assert attempt(code).status == "misconfigured"


def test_starttls_that_is_not_offered_is_a_configuration_mistake(
    code: VerificationCode, rolled_back: Relay, settings: Settings
) -> None:
    """A relay without STARTTLS cannot be used with EMAIL_USE_TLS until somebody acts."""
    rolled_back()
    settings.EMAIL_USE_TLS = True
    assert attempt(code).status == "misconfigured"


def test_an_address_that_smtp_cannot_carry_is_refused(rolled_back: Relay, db: None) -> None:
    """A mistake in the data ends it: no retry mends an address."""
    server = rolled_back()
    user = User.objects.create_user("two@at@signs", "x")
    code = VerificationCode(user=user, purpose=Purpose.VERIFY_EMAIL)
    code.expires_at = code.created_at
    assert attempt(code).status == "refused"
    assert server.accepted == []


@pytest.mark.parametrize("reply", ["451 4.7.1 <{}> later", "550 5.1.1 <{}> unknown"])
def test_no_outcome_repeats_the_address(code: VerificationCode, rolled_back: Relay, reply: str) -> None:
    """Servers put the address into their replies, and outcomes are logged."""
    rolled_back(Fault(At.RCPT, Reply(reply.format(code.user.email))))
    assert code.user.email not in attempt(code).detail

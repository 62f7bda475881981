"""Mails in every state, and people who may do different things."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from robust_email.outbox.models import OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.outbox.states import FINAL, LEASED, State

if TYPE_CHECKING:
    from collections.abc import Iterable

APP = "robust_email_outbox"
EVERYTHING = ("view_outboxmessage", "view_outboxrelay", "view_address", "view_body", "operate")

MakeMail = Callable[..., OutboxMessage]
LogIn = Callable[..., Client]


def make_mail(state: str = State.QUEUED, *, to: Iterable[str] = ("ann@example.net",), **columns: Any) -> OutboxMessage:  # noqa: ANN401 - columns
    """Write a mail as it is in that state."""
    now = timezone.now()
    times: dict[str, Any] = {}
    if state == State.QUEUED:
        times["next_attempt_at"] = now
    elif state in LEASED:
        times |= {"lease_token": uuid4(), "lease_until": now + timedelta(minutes=2), "lease_owner": "worker/1/a"}
    elif state in FINAL:
        times["finished_at"] = now
    given: dict[str, Any] = {
        "created_at": now,
        "message_id": f"<{uuid4().hex}@shop.example>",
        "reverse_path": "shop@example.org",
        "content": b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nThe secret body\r\n",
        "content_size": 40,
        "relay": "default",
    }
    row = OutboxMessage.objects.create(state=state, **given | times | columns)
    for position, address in enumerate(to):
        OutboxRecipient.objects.create(message=row, position=position, address=address)
    return row


def make_attempt(row: OutboxMessage, **columns: Any) -> SubmissionAttempt:  # noqa: ANN401 - columns
    """Write an attempt."""
    given = {
        "ended_at": timezone.now(),
        "seconds": 0.03,
        "endpoint": "mail.example:587",
        "phase": "await-final",
        "disposition": "accepted",
        "accepted": 1,
    }
    return SubmissionAttempt.objects.create(message=row, **given | columns)


def new_user(name: str, **columns: Any) -> Any:  # noqa: ANN401 - columns, and a model of the project's choice
    """Make one, whatever the project's users are known by."""
    model = get_user_model()
    return model(**{model.USERNAME_FIELD: name}, **columns)


@pytest.fixture
def log_in(db: None) -> LogIn:
    """Give a function that logs a member of staff in who has these permissions."""

    def log_in(*permissions: str) -> Client:
        user = new_user(f"staff-{uuid4().hex[:6]}@example.com", is_staff=True)
        user.save()
        found = Permission.objects.filter(content_type__app_label=APP, codename__in=permissions)
        assert found.count() == len(permissions)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def operator(log_in: LogIn) -> Client:
    """Log somebody in who may do everything."""
    return log_in(*EVERYTHING)


def list_url(query: str = "") -> str:
    """Return the list's address."""
    return f"/admin/{APP}/outboxmessage/{query}"


def mail_url(pk: UUID, what: str = "change") -> str:
    """Return the address of one mail, or of what is done to it."""
    return f"/admin/{APP}/outboxmessage/{pk}/{what}/"


DASHBOARD = f"/admin/{APP}/outboxrelay/"

"""A customer's side: devices that speak to the API as an app does, and the mails in the outbox."""

from __future__ import annotations

import email
import email.policy
import json
import re
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from django.test import Client

from robust_email.outbox.models import OutboxMessage

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

PASSWORD = "CANARY-password-of-the-customer"
OTHER_PASSWORD = "CANARY-another-password"
ADDRESS = "canary.customer@customer.example"
CODE = re.compile(r"^ +([A-Z]{4}-[A-Z]{4})\s*$", re.MULTILINE)

AUTH = "/_allauth/app/v1/auth/"
ACCOUNT = "/_allauth/app/v1/account/"


class Device:
    """One app on one device: it keeps the session token that it was given."""

    def __init__(self, **headers: str) -> None:
        self.token = ""
        self.client = Client(raise_request_exception=False, headers=headers)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send JSON to a path; the answer's token is kept for the next one."""
        if self.token:
            headers = {"X-Session-Token": self.token, **headers}
        answer = self.client.generic(
            method,
            path,
            b"" if body is None else json.dumps(body).encode(),
            content_type="application/json",
            headers=headers,
        )
        self._keep_token(answer)
        return answer

    def _keep_token(self, answer: Answer) -> None:
        if answer.headers.get("Content-Type", "").startswith("application/json") and answer.content:
            found = answer.json()
            meta = found.get("meta", {}) if isinstance(found, dict) else {}
            if meta.get("session_token"):
                self.token = meta["session_token"]
            if answer.status_code == 410:
                self.token = ""

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """Shorter."""
        return self.ask("POST", path, body, **headers)

    def sign_up(self, address: str = ADDRESS, password: str = PASSWORD, **headers: str) -> Answer:
        """Register."""
        return self.post(f"{AUTH}signup", {"email": address, "password": password}, **headers)

    def verify(self, code: str) -> Answer:
        """Enter the code from the mail."""
        return self.post(f"{AUTH}email/verify", {"key": code})

    def resend(self) -> Answer:
        """Ask for another code."""
        return self.post(f"{AUTH}email/verify/resend")

    def log_in(self, address: str = ADDRESS, password: str = PASSWORD) -> Answer:
        """Log in."""
        return self.post(f"{AUTH}login", {"email": address, "password": password})

    def log_out(self) -> Answer:
        """Log out."""
        return self.ask("DELETE", f"{AUTH}session")

    def ask_for_reset(self, address: str = ADDRESS, **headers: str) -> Answer:
        """Forget the password."""
        return self.post(f"{AUTH}password/request", {"email": address}, **headers)

    def reset(self, code: str, password: str = OTHER_PASSWORD) -> Answer:
        """Choose a new one with the code from the mail."""
        return self.post(f"{AUTH}password/reset", {"key": code, "password": password})

    def reauthenticate(self, password: str = PASSWORD) -> Answer:
        """Say the password again."""
        return self.post(f"{AUTH}reauthenticate", {"password": password})

    def change_address(self, address: str) -> Answer:
        """Ask to be known by another address."""
        return self.post(f"{ACCOUNT}email", {"email": address})

    def logged_in(self) -> bool:
        """Ask who one is."""
        return self.ask("GET", f"{AUTH}session").status_code == 200


def mails(kind: str | None = None, state: str | None = None, to: str | None = None) -> list[OutboxMessage]:
    """Return the outbox's rows, the oldest first."""
    rows = OutboxMessage.objects.order_by("created_at", "pk")
    wanted: dict[str, Any] = {"kind": kind, "state": state, "recipients__address": to}
    return list(rows.filter(**{name: value for name, value in wanted.items() if value is not None}))


def parsed(row: OutboxMessage) -> EmailMessage:
    """Return a row's octets as a message."""
    assert row.content is not None, "the body was removed"
    return _message(bytes(row.content))


def text_of(row: OutboxMessage, kind: str = "plain") -> str:
    """Return the text or the HTML of a mail."""
    return _text(parsed(row), kind)


def _message(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _text(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def code_in(row: OutboxMessage) -> str:
    """Return the code that stands in the mail."""
    return code_of(text_of(row))


def code_sent(octets: bytes) -> str:
    """Return the code that stands in a mail as a relay took it."""
    return code_of(_text(_message(octets)))


def code_of(text: str) -> str:
    """Return the code that stands in a mail's text."""
    found = CODE.search(text)
    assert found, text
    return found[1]


def last_code(kind: str = "verification", to: str = ADDRESS) -> str:
    """Return the code of the newest mail of this kind."""
    return code_in(mails(kind, to=to)[-1])

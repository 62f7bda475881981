"""What is ours beside allauth: a customer's mails, orders, support, health, headers (V31, V34, V36, V38)."""

from __future__ import annotations

import csv
import io
import json
import uuid
from typing import TYPE_CHECKING

import pytest
from allauth.account.models import EmailAddress
from celery import current_app
from django.test import Client, RequestFactory
from django.utils import timezone
from django.views.debug import ExceptionReporter
from kombu import Connection

from authentication.core.models import User
from robust_email.outbox.models import OutboxMessage, OutboxRelay
from robust_email.outbox.services.operating import cancel
from tests.service.customers import (
    ADDRESS,
    AUTH,
    PASSWORD,
    Device,
    code_in,
    last_code,
    mails,
    parsed,
    text_of,
)

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer
    from pytest_django import Settings

LINES = [{"product": "Teapot", "quantity": 1, "unit_price": 3490}, {"product": "Cup", "quantity": 4, "unit_price": 790}]


@pytest.fixture
def inside(customer: User, device: Device) -> Device:
    """Give a device whose customer is logged in."""
    assert device.log_in().status_code == 200
    return device


@pytest.fixture
def staff(db: None) -> Device:
    """Give the device of somebody from support."""
    user = User.objects.create_superuser("support@shop.example", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    device = Device()
    assert device.log_in(user.email).status_code == 200
    return device


def order(device: Device, reference: str, lines: object = None) -> Answer:
    return device.post("/api/orders/", {"reference": reference, "lines": LINES if lines is None else lines})


def test_a_customer_sees_what_became_of_his_mails(device: Device) -> None:
    """Kind, time and state in plain words; no body, no code; and nobody else's."""
    device.sign_up()
    code = last_code()
    Device().sign_up("somebody.else@customer.example")
    device.verify(code)
    answer = device.ask("GET", "/api/account/emails/")
    (mail,) = answer.json()["results"]
    assert mail["kind"] == "Code to confirm your e-mail address"
    assert mail["in_words"] == "on its way to your provider"
    assert set(mail) == {"kind", "created_at", "state", "in_words"}
    assert code not in answer.content.decode()
    german = device.ask("GET", "/api/account/emails/", **{"Accept-Language": "de"})
    assert german.json()["results"][0]["in_words"] == "unterwegs zu deinem Anbieter"


def test_mails_of_an_earlier_owner_are_not_shown(customer: User, inside: Device) -> None:
    """What was written to the address before the account was made is not his."""
    Device().ask_for_reset()
    OutboxMessage.objects.update(created_at=customer.date_joined.replace(year=2001))
    assert inside.ask("GET", "/api/account/emails/").json()["results"] == []


def test_v31_an_order_is_placed_and_confirmed_once(inside: Device) -> None:
    """201, then 200 for the same again, and one mail with a table, held if it is in doubt."""
    reference = str(uuid.uuid4())
    first, again = order(inside, reference), order(inside, reference)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["total"] == 6650
    (mail,) = mails("order-confirmation")
    assert (mail.in_doubt, mail.dedupe_key, mail.sensitive) == ("hold", "order-confirmation:1", False)
    (attached,) = parsed(mail).iter_attachments()
    assert attached.get_content_type() == "text/csv"
    rows = list(csv.reader(io.StringIO(attached.get_content())))
    assert rows[1:] == [["Teapot", "1", "34.90 EUR", "34.90 EUR"], ["Cup", "4", "7.90 EUR", "31.60 EUR"]]
    assert "Total: 66.50 EUR" in text_of(mail)


def test_v31_the_same_reference_with_another_body_is_a_conflict(inside: Device) -> None:
    """409, and nothing is placed or mailed."""
    reference = str(uuid.uuid4())
    order(inside, reference)
    answer = order(inside, reference, LINES[:1])
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "reference_used")
    assert len(mails("order-confirmation")) == 1


def test_a_spreadsheet_takes_no_product_for_a_formula(inside: Device) -> None:
    """A name that begins like a formula is quoted in the attachment."""
    order(inside, str(uuid.uuid4()), [{"product": "=cmd|' /C calc'!A0", "quantity": 1, "unit_price": 1}])
    (attached,) = parsed(mails("order-confirmation")[0]).iter_attachments()
    assert list(csv.reader(io.StringIO(attached.get_content())))[1][0].startswith("'=")


@pytest.mark.parametrize("path", ["/api/account/emails/", "/api/orders/"])
@pytest.mark.parametrize(
    "token", ["", "x", "0" * 32, "0" * 5000, "é", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "null"]
)
def test_v34_a_token_that_is_none_is_answered_401(db: None, path: str, token: str) -> None:
    """Tokens are opaque keys of sessions: there is no algorithm to confuse; anything else is nobody."""
    headers = {"X-Session-Token": token.encode().decode("latin-1")} if token else {}
    answer = Client(raise_request_exception=False, headers=headers).get(path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "X-Session-Token"


@pytest.mark.parametrize("gone", ["logged out", "locked", "deleted"])
def test_v34_a_token_dies_with_what_it_stood_for(customer: User, inside: Device, gone: str) -> None:
    """401 after a logout, a lock or a deletion, and never 500."""
    token = inside.token
    match gone:
        case "logged out":
            inside.log_out()
        case "locked":
            User.objects.update(is_active=False)
        case "deleted":
            User.objects.all().delete()
    assert Client(headers={"X-Session-Token": token}).get("/api/account/emails/").status_code == 401


HOSTILE = [
    b"[" * 100_000,
    b'{"a":' * 5_000,
    b"null",
    b"[]",
    b'"x"',
    b"1",
    b"{",
    b"\xff\xfe",
    b'{"email": "\\u0000"}',
    b"",
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    "path",
    [
        f"{AUTH}signup",
        f"{AUTH}login",
        f"{AUTH}password/request",
        f"{AUTH}password/reset",
        f"{AUTH}email/verify",
        "/api/orders/",
        "/api/account/",
        "/api/support/emails/find/",
    ],
)
def test_v36_no_body_makes_a_500(staff: Device, path: str, body: bytes) -> None:
    """Deep, huge, of wrong types, not JSON: the client's fault."""
    for headers in ({}, {"X-Session-Token": staff.token}):
        client = Client(raise_request_exception=False, headers=headers)
        answer = client.post(path, body, content_type="application/json")
        assert 400 <= answer.status_code < 500, answer.content[:200]


@pytest.mark.parametrize("method", ["TRACE", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_v36_no_method_makes_a_500(inside: Device, method: str) -> None:
    """Not on any path."""
    for path in ("/", "/healthz", "/api/orders/", "/api/account/", f"{AUTH}signup", f"{AUTH}session"):
        assert inside.ask(method, path).status_code < 500


def test_v36_a_body_that_is_too_large_is_refused(db: None) -> None:
    """Above 256 KiB nothing is parsed."""
    body = json.dumps({"email": ADDRESS, "password": "x" * 300_000})
    assert Client(raise_request_exception=False).post(f"{AUTH}signup", body, "application/json").status_code in {
        400,
        413,
    }


def test_v38_support_sees_everything_but_the_text(customer: User, staff: Device) -> None:
    """State, reason and history, no code and no body; what is decided stands in the log and in the row."""
    Device().ask_for_reset()
    (mail,) = mails("password-reset")
    code = code_in(mail)
    answer = staff.post("/api/support/emails/find/", {"email": ADDRESS.upper()})
    (found,) = answer.json()
    assert (found["id"], found["kind"], found["state"]) == (str(mail.pk), "password-reset", "queued")
    assert found["timeline"][0]["what"] == "enqueued"
    assert code not in answer.content.decode()
    assert staff.post(f"/api/support/emails/{mail.pk}/cancel/").json()["state"] == "cancelled"
    mail.refresh_from_db()
    assert mail.reason.startswith("cancel by staff ")


def test_support_decides_only_what_is_possible(customer: User, inside: Device, staff: Device) -> None:
    """Queued again after it was cancelled; a conflict where it makes no sense; 404 for what is not there."""
    order(inside, str(uuid.uuid4()))
    (mail,) = mails("order-confirmation")
    cancel(mail.pk)
    assert staff.post(f"/api/support/emails/{mail.pk}/requeue/").json()["state"] == "queued"
    assert staff.post(f"/api/support/emails/{mail.pk}/requeue/").status_code == 409
    assert staff.post(f"/api/support/emails/{mail.pk}/explode/").status_code == 404
    assert staff.post(f"/api/support/emails/{uuid.uuid4()}/cancel/").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/support/emails/find/",
        "/api/support/emails/0190a000-0000-7000-8000-000000000000/cancel/",
        "/api/support/suppressions/find/",
        "/api/support/suppressions/lift/",
    ],
)
def test_v38_support_is_for_staff(inside: Device, path: str) -> None:
    """403 for a customer, 401 for a stranger."""
    assert inside.post(path, {"email": ADDRESS}).status_code == 403
    assert Device().post(path, {"email": ADDRESS}).status_code == 401


def test_healthz_and_readyz_say_how_it_is(db: None, settings: Settings) -> None:
    """Without details that are nobody's business; a relay in trouble degrades and does not take the shop away."""
    client = Client()
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["database"] == "ok"
    now = timezone.now()
    OutboxRelay.objects.create(name="default", trouble="down", since=now, ask_again_at=now, reason="CANARY")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"], answer.json()["relay"]) == (200, "degraded", "down")
    assert b"CANARY" not in answer.content


def test_readyz_says_that_the_broker_is_down(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers within its patience, and 200: registrations are taken all the same."""
    monkeypatch.setattr(current_app, "connection_for_write", lambda **words: Connection("redis://127.0.0.1:1", **words))
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["broker"], answer.json()["status"]) == (200, "down", "degraded")


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/schema/", f"{AUTH}session"])
def test_every_answer_has_the_headers_that_protect_it(db: None, path: str) -> None:
    """Nothing from elsewhere, nothing inline, in no frame, no referrer, no sniffing."""
    headers = Client().get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_the_page_speaks_the_browsers_language(db: None, language: str) -> None:
    """With its direction, and no script or style inline."""
    page = Client().get("/", headers={"Accept-Language": language}).content.decode()
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page
    assert "<style" not in page
    assert "<script>" not in page


def test_documents_of_the_api_are_there(db: None) -> None:
    """Ours, readable and for machines, and allauth's beside it."""
    client = Client()
    for path in ("/api/schema/", "/api/docs/", "/_allauth/openapi.json", "/static/shopfront/account.js"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        answer.close()


def test_an_error_page_shows_no_secret(customer: User, settings: Settings) -> None:
    """With DEBUG on, the page of a 500 hides passwords, keys, and URLs with either in them."""
    secret = "canary".upper()  # so that the page's excerpt of this file is no finding
    settings.DEBUG = True
    settings.SOME_PASSWORD = settings.CELERY_BROKER_URL = f"redis://:{secret}@127.0.0.1"
    request = RequestFactory().get("/")
    page = ExceptionReporter(request, ValueError, ValueError("something"), None).get_traceback_html()
    assert "SOME_PASSWORD" in page
    assert f"redis://:{secret}" not in page


def test_what_is_not_there_is_said_in_the_form_of_the_api(db: None) -> None:
    """JSON below /api/, a line of text elsewhere."""
    assert Client().get("/api/nothing/").json()["errors"][0]["code"] == "not_found"
    assert Client().get("/nothing").content == b"Not found."

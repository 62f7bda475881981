"""The endpoints: a customer's way through them, and what they don't tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from django.contrib.auth.hashers import MD5PasswordHasher, check_password
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from authentication.core.models import User
from authentication.verification import enqueueing
from authentication.verification.models import MailState, Purpose, VerificationCode
from authentication.verification.selectors import live_code
from authentication.verification.tasks import SWEEP_AFTER, send_password_reset_email, send_verification_email, sweep
from e_commerce_api import celery_app

if TYPE_CHECKING:
    from pathlib import Path

    from django.test import Client
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer
    from pytest_django.fixtures import DjangoCaptureOnCommitCallbacks

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "another horse, another staple"
EMAIL = "ada@customer.example"

Post = Callable[..., "Answer"]


@pytest.fixture(autouse=True)
def queue_folder(tmp_path: Path) -> Iterator[Path]:
    """Give each test a Celery application whose broker is a folder of its own."""
    folder = tmp_path / "queue"
    (folder / "exchanges").mkdir(parents=True)
    private = Celery("test", broker="filesystem://", set_as_current=True)
    private.conf.broker_transport_options = {
        "data_folder_in": str(folder),
        "data_folder_out": str(folder),
        "control_folder": str(folder / "exchanges"),
    }
    yield folder
    celery_app.set_current()
    private.close()


@pytest.fixture
def post(client: Client, db: None) -> Post:
    """Give a function that posts JSON."""

    def send(path: str, **body: object) -> Answer:
        return client.post(path, json.dumps(body), content_type="application/json")

    return send


def code_of(email: str, purpose: Purpose) -> str:
    code = live_code(user=User.objects.get(email=email), purpose=purpose)
    assert code is not None
    return code.code


def test_register_and_verify(post: Post) -> None:
    """A new customer registers, enters the code, and is verified."""
    assert post("/api/register/", email=EMAIL, password=PASSWORD).status_code == 202
    assert User.objects.get(email=EMAIL).email_verified_at is None
    assert post("/api/verify/", email=EMAIL, code=code_of(EMAIL, Purpose.VERIFY_EMAIL)).status_code == 200
    assert User.objects.get(email=EMAIL).email_verified_at is not None


def test_reset_a_password(post: Post) -> None:
    """A customer who lost the password sets a new one by code."""
    User.objects.create_user(EMAIL, PASSWORD)
    assert post("/api/password-reset/", email=EMAIL.upper()).status_code == 202
    code = code_of(EMAIL, Purpose.RESET_PASSWORD)
    answer = post("/api/password-reset/confirm/", email=EMAIL, code=code, password=NEW_PASSWORD)
    assert answer.status_code == 200
    assert check_password(NEW_PASSWORD, User.objects.get(email=EMAIL).password)


def test_a_code_of_one_purpose_is_refused_for_the_other(post: Post) -> None:
    """The verification code resets no password (V13)."""
    post("/api/register/", email=EMAIL, password=PASSWORD)
    post("/api/password-reset/", email=EMAIL)
    code = code_of(EMAIL, Purpose.VERIFY_EMAIL)
    answer = post("/api/password-reset/confirm/", email=EMAIL, code=code, password=NEW_PASSWORD)
    assert answer.status_code == 400


def test_a_weak_password_leaves_the_code_good(post: Post) -> None:
    """The right code with a weak password may be used again with a better one."""
    User.objects.create_user(EMAIL, PASSWORD)
    post("/api/password-reset/", email=EMAIL)
    code = code_of(EMAIL, Purpose.RESET_PASSWORD)
    weak = post("/api/password-reset/confirm/", email=EMAIL, code=code, password="12345678")
    good = post("/api/password-reset/confirm/", email=EMAIL, code=code, password=NEW_PASSWORD)
    assert (weak.status_code, good.status_code) == (400, 200)


@pytest.mark.parametrize("known", ["unknown", "unverified", "verified", "inactive"])
@pytest.mark.parametrize("path", ["/api/register/", "/api/password-reset/"])
def test_answers_do_not_tell_whether_an_address_is_known(post: Post, path: str, known: str) -> None:
    """Status, body and headers are the same for every kind of address (V1, V3)."""
    reference = post(path, email="somebody-else@customer.example", password=PASSWORD)
    if known != "unknown":
        user = User.objects.create_user(EMAIL, PASSWORD)
        user.is_active = known != "inactive"
        user.email_verified_at = user.date_joined if known == "verified" else None
        user.save()
    answer = post(path, email=EMAIL, password=PASSWORD)
    assert answer.status_code == reference.status_code == 202
    assert answer.content == reference.content
    assert answer.headers == reference.headers


def test_registering_costs_one_hash_either_way(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow part, the password hash, is paid for known and unknown addresses alike (V2)."""
    hashed: list[str] = []
    encode = MD5PasswordHasher.encode

    def counting(self: MD5PasswordHasher, password: str, salt: str) -> str:
        hashed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counting)
    post("/api/register/", email=EMAIL, password=PASSWORD)
    first = len(hashed)
    post("/api/register/", email=EMAIL, password=PASSWORD)
    assert (first, len(hashed)) == (1, 2)


def test_registering_again_changes_no_password(post: Post) -> None:
    """Somebody who registers with a known address cannot set its password (V14)."""
    User.objects.create_user(EMAIL, PASSWORD)
    post("/api/register/", email=EMAIL, password=NEW_PASSWORD)
    assert check_password(PASSWORD, User.objects.get(email=EMAIL).password)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": EMAIL},
        {"email": "not an address", "password": PASSWORD},
        {"email": '"quoted local part"@customer.example', "password": PASSWORD},
        {"email": "a@b> NOTIFY=NEVER", "password": PASSWORD},
        {"email": f"{EMAIL}\r\nBcc: x@y.example", "password": PASSWORD},
        {"email": f"{EMAIL},x@y.example", "password": PASSWORD},
        {"email": f"{'a' * 250}@customer.example", "password": PASSWORD},
        {"email": EMAIL, "password": "short"},
        {"email": EMAIL, "password": "x" * 200},
        {"email": [EMAIL], "password": {"a": 1}},
        {"email": f"{EMAIL}\0", "password": PASSWORD},
    ],
)
def test_bad_input_is_a_400(post: Post, body: dict[str, Any]) -> None:
    """Whatever is wrong with the input, it is the client's fault and nothing is stored (V36)."""
    assert post("/api/register/", **body).status_code == 400
    assert not User.objects.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b'"x"', b"[" * 10_000])
def test_bad_json_is_a_400(client: Client, db: None, content: bytes) -> None:
    """Broken JSON is a 400, never a 500."""
    assert client.post("/api/register/", content, content_type="application/json").status_code == 400


def test_get_changes_nothing(client: Client, db: None) -> None:
    """A mail scanner that follows an URL changes no state (V24)."""
    for path in ("register", "verify", "password-reset", "password-reset/confirm"):
        assert client.get(f"/api/{path}/").status_code == 405


def test_the_mail_is_enqueued_on_commit_with_the_number_alone(
    post: Post, queue_folder: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """Before the commit the broker knows nothing; after it, the task's name and the code's number."""
    with django_capture_on_commit_callbacks() as callbacks:
        post("/api/register/", email=EMAIL, password=PASSWORD)
    assert list(queue_folder.glob("*.msg")) == []
    for callback in callbacks:
        callback()
    (message,) = queue_folder.glob("*.msg")
    headers = json.loads(message.read_text())["headers"]
    code = VerificationCode.objects.get()
    assert headers["task"] == "authentication.verification.send_verification_email"
    assert headers["argsrepr"] == f"[{code.pk}]"


def test_a_broker_that_is_down_costs_the_customer_nothing(
    post: Post, queue_folder: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """Without a broker the answer is as always, and the sweep enqueues the mail once the broker is back (V4, V29)."""
    hidden = queue_folder.rename(queue_folder.with_name("broken"))
    with django_capture_on_commit_callbacks(execute=True):
        assert post("/api/register/", email=EMAIL, password=PASSWORD).status_code == 202
    hidden.rename(queue_folder)
    code = VerificationCode.objects.get()
    assert code.mail_state == MailState.WAITING
    assert sweep.apply().get()["enqueued"] == 0, "its task may still be on its way"
    VerificationCode.objects.update(mail_due_at=code.created_at - 2 * SWEEP_AFTER)
    assert sweep.apply().get()["enqueued"] == 1
    assert len(list(queue_folder.glob("*.msg"))) == 1


def test_asking_again_within_the_cool_down_stores_nothing(post: Post) -> None:
    """A second reset request at once leaves no second code and no second task (V22)."""
    User.objects.create_user(EMAIL, PASSWORD)
    post("/api/password-reset/", email=EMAIL)
    with CaptureQueriesContext(connection) as known:
        post("/api/password-reset/", email=EMAIL)
    assert not [query for query in known if "INSERT" in query["sql"]]


def test_both_tasks_mail_what_they_should(post: Post) -> None:
    """Registration and reset each lead to their own mail with their own code."""
    post("/api/register/", email=EMAIL, password=PASSWORD)
    post("/api/password-reset/", email=EMAIL)
    for purpose, task in (
        (Purpose.VERIFY_EMAIL, send_verification_email),
        (Purpose.RESET_PASSWORD, send_password_reset_email),
    ):
        code = VerificationCode.objects.get(purpose=purpose)
        assert task.apply(args=(code.pk,)).get()["status"] == "success"
        assert code_of(EMAIL, purpose) in mail.outbox[-1].body
    assert [message.subject for message in mail.outbox] == ["Confirm your e-mail address", "Choose a new password"]


def test_create_customer_from_a_terminal(db: None) -> None:
    """The command registers as the API does."""
    call_command("create_customer", EMAIL, "--random-password")
    assert live_code(user=User.objects.get(email=EMAIL), purpose=Purpose.VERIFY_EMAIL) is not None


def test_create_customer_refuses_what_is_no_address(db: None) -> None:
    """A typo is said, and nothing is stored."""
    with pytest.raises(CommandError):
        call_command("create_customer", "not an address", "--random-password")
    assert not User.objects.exists()


def test_task_names_are_complete() -> None:
    """Every purpose has a task."""
    assert set(enqueueing.TASK_NAMES) == set(Purpose)

"""No answer, status, header, number of hashes or of statements tells whether an address is known (V1-V5, V32)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from authentication.core.models import User
from robust_email.suppression.services import suppress
from tests.service.customers import ADDRESS, PASSWORD, Device, last_code, mails

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.test.client import _MonkeyPatchedWSGIResponse as Answer
    from pytest_django import Settings

CaptureCallbacks = Callable[..., AbstractContextManager[object]]
UNKNOWN = "nobody.yet@customer.example"


@dataclass(frozen=True)
class Seen:
    """What somebody sees who asks, and what a stopwatch would see of the work behind it."""

    status: int
    body: object
    headers: dict[str, str]
    statements: int
    hashes: int


class Counting(MD5PasswordHasher):
    """A quick hasher that counts."""

    calls = 0

    def encode(self, password: str, salt: str) -> str:
        """Count, and hash."""
        type(self).calls += 1
        return super().encode(password, salt)


@pytest.fixture(autouse=True)
def counting_hasher(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.Counting"]


def seen(action: Callable[[], Answer]) -> Seen:
    Counting.calls = 0
    with CaptureQueriesContext(connection) as statements:
        answer = action()
    body = answer.json()
    body.get("meta", {}).pop("session_token", None)
    headers = {name: value for name, value in answer.headers.items() if name != "Expires"}  # it is the time of day
    return Seen(answer.status_code, body, headers, len(statements), Counting.calls)


@pytest.fixture
def unverified(db: None) -> User:
    """Give somebody who has not entered his code yet."""
    user = User.objects.create_user("unverified@customer.example", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=False, primary=True)
    return user


@pytest.fixture
def suppressed(db: None) -> User:
    """Give somebody whose mailbox was refused for good."""
    user = User.objects.create_user("suppressed@customer.example", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    suppress(user.email)
    return user


@pytest.fixture
def inactive(db: None) -> User:
    """Give somebody who was locked out."""
    user = User.objects.create_user("inactive@customer.example", PASSWORD, is_active=False)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def test_v01_v02_registering_a_known_address_looks_and_costs_the_same(
    customer: User, unverified: User, inactive: User, suppressed: User
) -> None:
    """Same status, body, headers, hashes and statements; the owner of the address is told by mail."""
    unknown = seen(lambda: Device().sign_up(UNKNOWN))
    assert (unknown.status, unknown.hashes) == (401, 1)
    for user in (customer, unverified, inactive, suppressed):
        assert seen(partial(Device().sign_up, user.email)) == unknown
    suppress("suppressed.stranger@customer.example")
    assert seen(lambda: Device().sign_up("suppressed.stranger@customer.example")) == unknown
    assert [mail.kind for mail in mails()] == ["verification", *["account-exists"] * 4, "verification"]


def test_v02_sending_again_costs_the_same_where_there_is_nobody(customer: User) -> None:
    """Whoever registered a known address and asks for another code sees what a new customer sees."""
    new, intruder = Device(), Device()
    new.sign_up(UNKNOWN)
    intruder.sign_up(customer.email)
    cache.clear()
    assert seen(new.resend) == seen(intruder.resend)
    assert [mail.kind for mail in mails(to=customer.email)] == ["account-exists"]


def test_v03_a_reset_looks_and_costs_the_same_for_every_address(
    customer: User, unverified: User, inactive: User, suppressed: User
) -> None:
    """Known, unknown, unproven, locked out and suppressed: one answer, as many statements."""
    unknown = seen(lambda: Device().ask_for_reset(UNKNOWN))
    assert unknown.status == 401
    for user in (customer, unverified, inactive, suppressed):
        assert seen(partial(Device().ask_for_reset, user.email)) == unknown
    assert mails(to=UNKNOWN) == []
    assert mails(to=inactive.email) == []
    assert [mail.kind for mail in mails(to=customer.email)] == ["password-reset"]


class Recorder:
    """A wake-up that remembers how many mails it was told of, at each call."""

    bounded = True
    told: ClassVar[list[int]] = []

    def notify(self, pks: Sequence[object]) -> None:
        """Remember how many."""
        self.told.append(len(pks))

    def notify_backlog(self) -> None:
        """Remember that there were too many to count."""
        self.told.append(-1)


def test_v03_a_worker_is_told_in_any_case(
    customer: User,
    settings: Settings,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]],
) -> None:
    """After the commit a worker is told of one mail, of one that was taken back too."""
    settings.EMAIL_OUTBOX_WAKEUP = f"{__name__}.Recorder"
    Recorder.told.clear()
    for address in (customer.email, UNKNOWN):
        with django_capture_on_commit_callbacks(execute=True):
            Device().ask_for_reset(address)
    assert Recorder.told == [1, 1]


def test_v03_guessing_a_code_looks_the_same_where_there_is_nobody(customer: User) -> None:
    """A wrong reset code is answered alike for known and unknown addresses, each time, until it is dead."""
    answers = []
    for address in (customer.email, UNKNOWN):
        thief = Device()
        thief.ask_for_reset(address)
        answers.append(
            [(answer.status_code, answer.content) for answer in (thief.reset("XXXX-XXXX") for _ in range(4))]
        )
    assert answers[0] == answers[1]
    assert [status for status, _ in answers[0]] == [400, 400, 400, 409]


@pytest.mark.parametrize(
    "name", ["account_signup", "account_reset_password", "account_confirm_email", "account_reset_password_from_key"]
)
def test_v05_a_missing_url_is_refused_at_start(db: None, settings: Settings, name: str) -> None:
    """Without one of the frontend's URLs some addresses would be answered by a 500: the checks fail before."""
    settings.HEADLESS_FRONTEND_URLS = {**settings.HEADLESS_FRONTEND_URLS}
    del settings.HEADLESS_FRONTEND_URLS[name]
    with pytest.raises(SystemCheckError, match=r"accounts\.E001"):
        call_command("check")


def test_v32_nobody_logs_in_before_his_address_is_proven(unverified: User) -> None:
    """The right password leads to the code and to no session; a wrong one says what it says for anybody."""
    right, wrong, unknown = Device(), Device(), Device()
    assert right.log_in(unverified.email).status_code == 401
    assert not right.logged_in()
    assert right.ask("GET", "/api/account/emails/").status_code == 401
    answers = [wrong.log_in(unverified.email, "not this one"), unknown.log_in(UNKNOWN, "not this one")]
    assert answers[0].status_code == answers[1].status_code == 400
    assert answers[0].json() == answers[1].json()
    assert right.verify(last_code(to=unverified.email)).status_code == 200
    assert right.logged_in()


def test_v32_a_wrong_password_costs_a_hash_for_anybody(customer: User) -> None:
    """Login hashes once, whether there is an account or not."""
    known = seen(lambda: Device().log_in(ADDRESS, "not this one"))
    assert seen(lambda: Device().log_in(UNKNOWN, "not this one")).hashes == known.hashes == 1

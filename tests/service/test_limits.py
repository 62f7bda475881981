"""How often, from where, and by which writing of an address (V18-V23, V39)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core.cache import cache
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from authentication.core.models import User, canonical_email
from authentication.core.services import purge_unverified
from authentication.verification.services import MAILS_A_DAY
from robust_email.outbox.models import OutboxMessage
from tests.service.customers import ADDRESS, AUTH, PASSWORD, Device, mails


@pytest.mark.parametrize(
    "written",
    ["Canary.Customer@customer.example", "canary.customer@CUSTOMER.EXAMPLE", " canary.customer@customer.example "],
)
def test_v18_one_customer_however_the_address_is_written(customer: User, written: str) -> None:
    """Letter case and blanks around it make no second account, and one can log in and reset with them."""
    assert Device().sign_up(written).status_code == 401
    assert User.objects.count() == 1
    assert Device().log_in(written).status_code == 200
    cache.clear()
    Device().ask_for_reset(written)
    assert len(mails("password-reset", to=ADDRESS)) == 1


@pytest.mark.parametrize(
    "other",
    [
        "canary.customer+tag@customer.example",
        "canarycustomer@customer.example",
        "canary.customer@customer.example.com",
        "canary.customer@cust\u043emer.example",  # a Cyrillic letter
    ],
)
def test_v18_no_other_address_is_taken_for_it(customer: User, other: str) -> None:
    """Tags, dots and look-alikes are other customers', or no addresses at all."""
    Device().ask_for_reset(other)
    assert mails("password-reset", to=ADDRESS) == []
    assert Device().log_in(other).status_code == 400


def test_v18_a_domain_is_one_in_both_writings(device: Device) -> None:
    """As people write it and as DNS has it."""
    device.sign_up("ann@b\u00fccher.example")
    assert User.objects.get().email == "ann@xn--bcher-kva.example"
    cache.clear()
    Device().sign_up("ann@xn--bcher-kva.example")
    assert User.objects.count() == 1


@given(st.emails())
def test_v18_canonical_is_stable(address: str) -> None:
    """Made canonical twice it is the same, and only letter case and the domain's writing change."""
    once = canonical_email(address)
    assert canonical_email(once) == once
    assert once.rpartition("@")[0] == address.rpartition("@")[0].lower()


@pytest.mark.parametrize(
    "bad",
    [
        '"quoted local"@customer.example',
        '"x@evil.example"@customer.example',
        "a@b@customer.example",
        "ann@customer.example\r\nBcc: x@evil.example",
        "ann@customer.example, eve@evil.example",
        "Ann <ann@customer.example>",
        "ann@customer.example>",
        "ann\0@customer.example",
        f"{'a' * 250}@customer.example",
        "",
        7,
        None,
        ["ann@customer.example"],
        {"a": 1},
    ],
)
def test_v18_what_is_no_address_is_refused(db: None, bad: object) -> None:
    """400 at sign-up, login and reset, and no mail."""
    for path in ("signup", "login", "password/request"):
        answer = Device().post(f"{AUTH}{path}", {"email": bad, "password": PASSWORD})
        assert answer.status_code == 400, path
        cache.clear()
    assert mails() == []


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"}])
@pytest.mark.parametrize("allowed", [["testserver"], ["*"]])
def test_v19_no_host_header_gets_into_a_mail(
    customer: User, settings: object, headers: dict[str, str], allowed: list[str]
) -> None:
    """Whatever a proxy lets through: mails name the shop's own address, from the settings."""
    settings.ALLOWED_HOSTS = allowed  # type: ignore[attr-defined] # pytest-django's
    Device().sign_up(**headers)
    cache.clear()
    Device().ask_for_reset(**headers)
    assert not any(b"evil" in bytes(mail.content or b"") for mail in mails())


def test_v20_nobody_is_sent_elsewhere(customer: User) -> None:
    """A `next` or a callback from outside is not followed."""
    for body in ({"next": "https://evil.example/"}, {"callback_url": "https://evil.example/"}):
        answer = Device().post(
            f"{AUTH}login?next=https://evil.example/", {"email": ADDRESS, "password": PASSWORD, **body}
        )
        assert answer.status_code == 200
        assert "Location" not in answer.headers
        assert b"evil" not in answer.content


def test_v21_an_invented_forwarded_for_gains_nothing(db: None) -> None:
    """Without a proxy the header is not believed: the twenty-first sign-up of a minute is refused."""
    answers = [
        Device()
        .sign_up(f"customer{number}@customer.example", **{"X-Forwarded-For": f"198.51.100.{number}"})
        .status_code
        for number in range(22)
    ]
    assert answers == [401] * 20 + [429] * 2


def test_v21_behind_a_proxy_the_last_hop_counts(db: None, settings: object) -> None:
    """The proxy adds whom it saw; what a client wrote before that is not looked at. IPv6 counts by /64."""
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1  # type: ignore[attr-defined] # pytest-django's
    forged = [f"203.0.113.{number}, 2001:db8::{number}" for number in range(22)]
    answers = [
        Device().sign_up(f"customer{number}@customer.example", **{"X-Forwarded-For": hops}).status_code
        for number, hops in enumerate(forged)
    ]
    assert answers == [401] * 20 + [429] * 2


def test_v22_v23_ten_mails_a_day_to_one_address_whoever_asks(customer: User) -> None:
    """From any number of places, and with the cache of limits emptied each time: the eleventh is not written."""
    answers = []
    for number in range(MAILS_A_DAY + 3):
        cache.clear()
        device = Device()
        device.client.defaults["REMOTE_ADDR"] = f"192.0.2.{number}"
        answers.append(device.ask_for_reset().status_code if number % 2 else device.sign_up().status_code)
    assert set(answers) == {401}
    assert len(mails(to=ADDRESS)) == MAILS_A_DAY
    OutboxMessage.objects.update(created_at=timezone.now() - timedelta(hours=25))
    cache.clear()
    Device().ask_for_reset()
    assert len(mails(to=ADDRESS)) == MAILS_A_DAY + 1


def test_v22_the_cap_leaves_login_and_notices_alone(customer: User) -> None:
    """Who was bombed with codes can still log in, and is told of what happens to his account."""
    for _ in range(MAILS_A_DAY + 1):
        cache.clear()
        Device().sign_up()
    device = Device()
    assert device.log_in().status_code == 200
    body = {"current_password": PASSWORD, "new_password": "another good one"}
    assert device.post("/_allauth/app/v1/account/password/change", body).status_code == 200
    assert len(mails("notice")) == 1


def test_v39_an_address_that_nobody_proves_is_free_again(db: None) -> None:
    """After a week the account is gone and its address can be registered; proven ones and operators stay."""
    Device().sign_up("forgotten@customer.example")
    proven = User.objects.create_user("proven@customer.example", PASSWORD)
    EmailAddress.objects.create(user=proven, email=proven.email, verified=True, primary=True)
    User.objects.create_superuser("operator@shop.example", PASSWORD)
    User.objects.update(date_joined=timezone.now() - timedelta(days=6, hours=23))
    assert purge_unverified() == 0
    User.objects.update(date_joined=timezone.now() - timedelta(days=7, hours=1))
    assert purge_unverified() == 1
    cache.clear()
    Device().sign_up("forgotten@customer.example")
    assert User.objects.filter(email="forgotten@customer.example").count() == 1
    assert [mail.kind for mail in mails(to="forgotten@customer.example")] == ["verification", "verification"]

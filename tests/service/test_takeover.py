"""Accounts are not taken over: by registering first, by an old session, by changing the address (V14-V16, V33)."""

from __future__ import annotations

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core.cache import cache

from authentication.core.models import User
from tests.service.customers import (
    ACCOUNT,
    ADDRESS,
    OTHER_PASSWORD,
    PASSWORD,
    Device,
    last_code,
    mails,
    text_of,
)

VICTIM = "victim@customer.example"


def test_v14_who_registers_first_with_another_s_address_gets_nothing(db: None) -> None:
    """The owner ignores the mail, later registers, is told to choose a password, does so: the thief is out."""
    thief, owner = Device(), Device()
    thief.sign_up(VICTIM, "the thief's password")
    cache.clear()
    owner.sign_up(VICTIM, "never used")
    assert [mail.kind for mail in mails(to=VICTIM)] == ["verification", "account-exists"]
    cache.clear()
    owner.ask_for_reset(VICTIM)
    owner.reset(last_code("password-reset", VICTIM), OTHER_PASSWORD)
    assert Device().log_in(VICTIM, "the thief's password").status_code == 400
    assert not thief.logged_in()
    assert thief.verify(last_code("verification", VICTIM)).status_code != 200
    assert not thief.logged_in()
    assert owner.log_in(VICTIM, OTHER_PASSWORD).status_code == 200


def test_v15_a_reset_ends_every_session_and_what_was_pending(customer: User) -> None:
    """A thief who is logged in, with a change of address under way, has neither after the reset."""
    thief, owner = Device(), Device()
    thief.log_in()
    thief.reauthenticate()
    assert thief.change_address("thief@customer.example").status_code == 200
    pending = last_code("verification", "thief@customer.example")
    owner.ask_for_reset()
    owner.reset(last_code("password-reset"))
    assert not thief.logged_in()
    assert thief.ask("GET", "/api/account/emails/").status_code == 401
    assert thief.verify(pending).status_code in {401, 409, 410}
    assert User.objects.get().email == ADDRESS


def test_v16_a_change_of_address_needs_the_password_again(customer: User, device: Device) -> None:
    """With a session that is some minutes old the answer is: say your password."""
    with time_machine.travel("2030-01-01T12:00Z", tick=False) as clock:
        device.log_in()
        clock.shift(301)
        answer = device.change_address("new@customer.example")
        assert answer.status_code == 401
        assert {"id": "reauthenticate"} in answer.json()["data"]["flows"]
        assert mails() == []
        assert device.reauthenticate().status_code == 200
        assert device.change_address("new@customer.example").status_code == 200


def test_v16_the_new_address_proves_itself_and_the_old_one_is_told(customer: User, device: Device) -> None:
    """Until the code is entered nothing changes; then the old address gets a notice, and logs in no more."""
    device.log_in()
    device.reauthenticate()
    device.change_address("new@customer.example")
    assert User.objects.get().email == ADDRESS
    assert device.verify(last_code(to="new@customer.example")).status_code == 200
    assert User.objects.get().email == "new@customer.example"
    (notice,) = mails("notice")
    assert [to.address for to in notice.recipients.all()] == [ADDRESS]
    assert "has another e-mail address" in text_of(notice)
    assert "new@customer.example" not in text_of(notice)
    assert Device().log_in(ADDRESS).status_code == 400
    assert Device().log_in("new@customer.example").status_code == 200


def test_v16_a_taken_address_is_answered_like_a_free_one(customer: User) -> None:
    """Whoever wants another customer's address sees what he would see for a free one, and cannot have it."""
    other = User.objects.create_user("other@customer.example", PASSWORD)
    EmailAddress.objects.create(user=other, email=other.email, verified=True, primary=True)
    one, two = Device(), Device()
    for device in (one, two):
        device.log_in()
        device.reauthenticate()
    free = one.change_address("free@customer.example")
    cache.clear()
    taken = two.change_address(other.email)
    assert (free.status_code, len(free.json()["data"])) == (taken.status_code, len(taken.json()["data"]))
    assert two.verify(last_code(to=other.email)).status_code == 400
    assert EmailAddress.objects.get(email=other.email).user == other


def test_v16_one_s_own_address_is_no_change(customer: User, device: Device) -> None:
    """Nothing is mailed."""
    device.log_in()
    device.reauthenticate()
    assert device.change_address(ADDRESS).status_code == 400
    assert mails() == []


def test_v33_after_a_reset_nobody_is_logged_in_and_a_notice_goes_out(customer: User) -> None:
    """Not the one who reset it either: he logs in with the new password; the old one is dead."""
    old, forgetful = Device(), Device()
    old.log_in()
    forgetful.ask_for_reset()
    assert forgetful.reset(last_code("password-reset")).status_code == 401
    assert not forgetful.logged_in()
    assert not old.logged_in()
    assert "was reset with a code" in text_of(mails("notice")[0])
    assert Device().log_in().status_code == 400
    assert Device().log_in(password=OTHER_PASSWORD).status_code == 200


def test_v33_a_weak_password_leaves_the_code_good(customer: User, device: Device) -> None:
    """It is said what is wrong with it, and the next try may be right."""
    device.ask_for_reset()
    code = last_code("password-reset")
    assert device.reset(code, "12345").status_code == 400
    assert device.reset(code, OTHER_PASSWORD).status_code == 401


def test_a_changed_password_ends_the_other_sessions(customer: User) -> None:
    """The device that changed it stays in, the others are out, and a notice goes out."""
    here, elsewhere = Device(), Device()
    here.log_in()
    elsewhere.log_in()
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert here.post(f"{ACCOUNT}password/change", body).status_code == 200
    assert here.logged_in()
    assert not elsewhere.logged_in()
    assert len(mails("notice")) == 1


@pytest.mark.parametrize(("password", "status"), [("not this one", 400), (PASSWORD, 204)])
def test_deleting_an_account_takes_the_password(customer: User, device: Device, password: str, status: int) -> None:
    """With it the account and its sessions are gone, and a last mail says so; without it nothing happens."""
    device.log_in()
    assert device.post("/api/account/", {"password": password}).status_code == status
    gone = status == 204
    assert User.objects.exists() is not gone
    assert device.logged_in() is not gone
    assert len(mails("notice")) == int(gone)

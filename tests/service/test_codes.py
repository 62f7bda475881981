"""What a code is good for, how often, how long, and for whom (V6, V8, V10, V11, V13, V24, V25, V35)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core.cache import cache

from authentication.core.models import User
from robust_email.outbox.states import State
from tests.service.customers import ADDRESS, AUTH, OTHER_PASSWORD, PASSWORD, Device, code_in, last_code, mails, text_of

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_a_customer_registers_and_is_in(device: Device) -> None:
    """Register, read the mail, enter the code: logged in; the code works without dash and in small letters too."""
    assert device.sign_up().status_code == 401
    assert not device.logged_in()
    assert device.verify(last_code().replace("-", "").lower()).status_code == 200
    assert device.logged_in()
    assert device.ask("GET", "/api/account/emails/").status_code == 200


def test_a_customer_logs_out_and_in(customer: User, device: Device) -> None:
    """Log in, look at the sessions, log out: the token is dead."""
    assert device.log_in().status_code == 200
    token = device.token
    assert len(device.ask("GET", "/_allauth/app/v1/auth/sessions").json()["data"]) == 1
    device.log_out()
    device.token = token
    assert device.ask("GET", "/api/account/emails/").status_code == 401


def test_v06_a_code_is_dead_after_three_wrong_ones(device: Device) -> None:
    """400, 400, 400, and then the right one is worth nothing; a new one needs a new mail."""
    device.sign_up()
    code = last_code()
    answers = [device.verify(f"XXXX-XXX{letter}").status_code for letter in "XZW"]
    assert answers == [400, 400, 400]
    assert device.verify(code).status_code == 409


def test_v06_many_sessions_don_t_make_many_guesses(customer: User) -> None:
    """Whoever asks for codes again and again from new sessions gets one a minute, and so three guesses a minute."""
    asked = [Device().ask_for_reset().status_code for _ in range(4)]
    assert asked == [401, 429, 429, 429]
    assert len(mails("password-reset")) == 1


def test_v08_a_code_is_good_in_the_session_that_asked_for_it(device: Device) -> None:
    """In another session, and in none, it is worth nothing."""
    device.sign_up()
    other = Device()
    other.sign_up("other@customer.example")
    assert Device().verify(last_code()).status_code == 409
    assert other.verify(last_code()).status_code == 400
    assert device.verify(last_code()).status_code == 200


def test_v09_a_code_is_good_once(device: Device) -> None:
    """The second time it is a conflict."""
    device.sign_up()
    assert device.verify(last_code()).status_code == 200
    assert device.verify(last_code()).status_code == 409


@pytest.mark.parametrize(("late", "status"), [(-1, 200), (1, 409)])
def test_v10_a_code_dies_when_the_mail_says(device: Device, late: int, status: int) -> None:
    """A second before its end it works, a second after it does not; the mail and the outbox name that moment."""
    lifetime = django_settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_TIMEOUT
    with time_machine.travel(NOON, tick=False) as clock:
        device.sign_up()
        (mail,) = mails("verification")
        assert mail.expires_at == NOON + timedelta(seconds=lifetime)
        assert "until 12:30 UTC: for 30 minutes" in " ".join(text_of(mail).split())
        clock.shift(lifetime + late)
        assert device.verify(code_in(mail)).status_code == status


def test_v10_sending_again_makes_nothing_longer(device: Device) -> None:
    """The code of a resend dies with the first one's session: ten minutes later it has twenty left, and says so."""
    with time_machine.travel(NOON, tick=False) as clock:
        device.sign_up()
        clock.shift(600)
        cache.clear()
        assert device.resend().status_code == 200
    first, second = mails("verification")
    assert first.expires_at == second.expires_at
    assert "for 20 minutes" in " ".join(text_of(second).split())


def test_v11_a_new_code_takes_the_place_of_the_old_one(device: Device) -> None:
    """The old code is dead and its mail, if it still waits, is not sent; a minute has to lie between."""
    device.sign_up()
    assert device.resend().status_code in {403, 429}
    cache.clear()
    assert device.resend().status_code == 200
    old, new = mails("verification")
    assert (old.state, new.state) == (State.SUPERSEDED, State.QUEUED)
    assert old.content is None, "a dead code is not kept"
    assert device.verify(code_in(new)).status_code == 200


def test_v11_the_old_code_is_wrong_after_a_resend(device: Device) -> None:
    """It counts as a wrong guess."""
    device.sign_up()
    old = last_code()
    cache.clear()
    device.resend()
    assert device.verify(old).status_code == 400


def test_v11_three_resends_per_session(device: Device) -> None:
    """The fourth is refused, whatever the clock says."""
    device.sign_up()
    answers = []
    for _ in range(5):
        cache.clear()
        answers.append(device.resend().status_code)
    assert answers == [200, 200, 200, 409, 409]


def test_v13_a_code_for_one_thing_is_worth_nothing_for_another(customer: User) -> None:
    """Verification, reset and change of address: each code at each other endpoint, in its own session."""
    newcomer = Device()
    newcomer.sign_up("new@customer.example")
    assert newcomer.reset(last_code(to="new@customer.example")).status_code == 409

    forgetful = Device()
    forgetful.ask_for_reset()
    code = last_code("password-reset")
    assert forgetful.verify(code).status_code == 409

    mover = Device()
    mover.log_in()
    mover.reauthenticate()
    mover.change_address("moved@customer.example")
    assert mover.reset(last_code(to="moved@customer.example")).status_code == 409
    assert forgetful.reset(code).status_code == 401  # the right one: the password is changed


def test_v24_looking_changes_nothing(device: Device) -> None:
    """Scanners of mail open links and prefetch: GET and HEAD use up no code and prove no address."""
    device.sign_up()
    code = last_code()
    for method in ("GET", "HEAD"):
        for path in (f"{AUTH}email/verify", f"{AUTH}password/reset", f"{AUTH}session", "/"):
            Device().ask(method, path)
            Device().ask(method, f"{path}?key={code}")
    assert device.verify(code).status_code == 200


def test_v25_no_secret_in_a_url_or_a_cache(device: Device) -> None:
    """No mail has a link with a code; answers about accounts are not stored, and no page tells its address."""
    answer = device.sign_up()
    mail = mails("verification")[0]
    assert answer.headers["Cache-Control"].replace("private", "").count("no-store")
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "http" not in text_of(mail)
    assert "href" not in text_of(mail, "html")


@pytest.mark.parametrize("spoiled", ["inactive", "deleted"])
def test_v35_a_valid_code_of_somebody_who_is_gone(device: Device, spoiled: str) -> None:
    """4xx and no session; another mail is not written."""
    device.sign_up()
    code = last_code()
    if spoiled == "inactive":
        User.objects.filter(email=ADDRESS).update(is_active=False)
    else:
        User.objects.filter(email=ADDRESS).delete()
    assert 400 <= device.verify(code).status_code < 500
    assert not device.logged_in()
    assert len(mails()) == 1


def test_v35_a_reset_of_somebody_who_is_gone(customer: User, device: Device) -> None:
    """A reset code that was mailed is worth nothing once the account is locked."""
    device.ask_for_reset()
    User.objects.filter(pk=customer.pk).update(is_active=False)
    device.reset(last_code("password-reset"))
    assert Device().log_in(password=OTHER_PASSWORD).status_code != 200
    assert Device().log_in(password=PASSWORD).status_code != 200

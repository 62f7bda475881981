"""Codes: derived, not stored; one purpose, one customer, one use."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from authentication.verification import codes
from authentication.verification.models import Purpose, VerificationCode
from authentication.verification.services import MAX_GUESSES, RULES, issue_code, redeem

if TYPE_CHECKING:
    from authentication.core.models import User

nonces = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(nonces, st.integers(1, 10**9))
def test_a_code_is_readable_and_always_the_same(nonce: str, user_id: int) -> None:
    """Eight consonants in two groups, the same each time it is derived."""
    code = codes.derive_code(purpose="verify-email", user_id=user_id, nonce=nonce)
    assert re.fullmatch(r"[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}", code)
    assert code == codes.derive_code(purpose="verify-email", user_id=user_id, nonce=nonce)


@given(nonces, st.integers(1, 10**9))
def test_another_purpose_or_customer_is_another_code(nonce: str, user_id: int) -> None:
    """A code for one purpose or customer is not the code for another (V13)."""
    made = {
        codes.derive_code(purpose=purpose, user_id=number, nonce=nonce)
        for purpose in ("verify-email", "reset-password")
        for number in (user_id, user_id + 1)
    }
    assert len(made) == 4


@pytest.mark.parametrize("typed", ["BCDF-GHJK", "bcdf-ghjk", " bcdf ghjk ", "BCDFGHJK"])
def test_typing_is_forgiven(typed: str) -> None:
    """Case, spaces and the dash don't matter."""
    assert codes.same_code("BCDF-GHJK", typed)


def test_another_code_is_not_forgiven() -> None:
    """One wrong letter is wrong."""
    assert not codes.same_code("BCDF-GHJK", "BCDF-GHJL")


def test_the_row_holds_no_code(code: VerificationCode) -> None:
    """Whoever reads the database does not learn the code."""
    letters = code.code.replace("-", "")
    row = VerificationCode.objects.filter(pk=code.pk).values().get()
    assert letters not in "".join(map(str, row.values())).upper().replace("-", "")


def test_a_code_works_once(code: VerificationCode) -> None:
    """The second use of the right code fails (V9)."""
    assert redeem(user=code.user, purpose=Purpose.VERIFY_EMAIL, code=code.code)
    assert not redeem(user=code.user, purpose=Purpose.VERIFY_EMAIL, code=code.code)


def test_a_code_is_dead_after_wrong_guesses(code: VerificationCode) -> None:
    """After as many wrong guesses as are allowed the right code fails too (V6)."""
    for _ in range(MAX_GUESSES):
        assert not redeem(user=code.user, purpose=Purpose.VERIFY_EMAIL, code="BBBB-BBBB")
    assert not redeem(user=code.user, purpose=Purpose.VERIFY_EMAIL, code=code.code)


def test_the_last_guess_may_be_right(code: VerificationCode) -> None:
    """The guess that reaches the limit still counts."""
    for _ in range(MAX_GUESSES - 1):
        redeem(user=code.user, purpose=Purpose.VERIFY_EMAIL, code="BBBB-BBBB")
    assert redeem(user=code.user, purpose=Purpose.VERIFY_EMAIL, code=code.code)


def test_an_expired_code_is_dead(code: VerificationCode) -> None:
    """Past expires_at the right code fails (V10)."""
    VerificationCode.objects.filter(pk=code.pk).update(expires_at=timezone.now())
    assert not redeem(user=code.user, purpose=Purpose.VERIFY_EMAIL, code=code.code)


def test_a_new_code_replaces_the_old_one(code: VerificationCode, customer: User) -> None:
    """After a resend only the newest code works (V11)."""
    earlier = timezone.now() - RULES[Purpose.VERIFY_EMAIL].cool_down
    VerificationCode.objects.filter(pk=code.pk).update(created_at=earlier)
    newer = issue_code(user=customer, purpose=Purpose.VERIFY_EMAIL)
    assert newer is not None
    assert not redeem(user=customer, purpose=Purpose.VERIFY_EMAIL, code=code.code)
    assert redeem(user=customer, purpose=Purpose.VERIFY_EMAIL, code=newer.code)


def test_no_second_code_within_the_cool_down(code: VerificationCode, customer: User) -> None:
    """Asking again at once mails nothing (V22), and the code that is out stays good."""
    assert issue_code(user=customer, purpose=Purpose.VERIFY_EMAIL) is None
    assert redeem(user=customer, purpose=Purpose.VERIFY_EMAIL, code=code.code)


def test_the_schedule_fits_into_the_life_of_a_verification_code() -> None:
    """The last retry of a verification mail, with all the bad luck of jitter, still finds a code that is good."""
    latest = timedelta(seconds=60 + 1.25 * (120 + 240 + 300 + 300))
    assert latest < RULES[Purpose.VERIFY_EMAIL].lifetime / 2

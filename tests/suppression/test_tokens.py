"""Bounce addresses: what they name, for how long, and that nobody else can make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.checks import registry as checks
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp import InvalidAddress
from robust_email.suppression import bounce_address, process_bounce
from robust_email.suppression.addresses import digest_of
from robust_email.suppression.checks import check_suppression
from robust_email.suppression.services import BounceOutcome
from robust_email.suppression.tokens import bounce_address as at_time
from robust_email.suppression.tokens import is_named, named_digests
from tests.suppression.letters import ANN, BOB, bounce, group

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.outbox.models import OutboxMessage

DAY = 86_400.0
NOW = 20_000 * DAY


@pytest.fixture(autouse=True)
def return_path(settings: Settings) -> None:
    """Give the project a mailbox for bounces."""
    settings.EMAIL_SUPPRESSION_RETURN_PATH = "bounces@shop.example"


def named(address: str, now: float = NOW) -> bool:
    """Tell whether the address names ANN."""
    return is_named(digest_of(ANN), named_digests([address], clock=lambda: now))


def test_it_names_its_recipient_in_any_case() -> None:
    """A token names the recipient it was made for, though servers change its case, and no other."""
    address = at_time(ANN, clock=lambda: NOW)
    assert address.endswith("@shop.example")
    assert len(address.partition("@")[0]) <= 64
    assert named(address)
    assert named(address.upper())
    assert not is_named(digest_of(BOB), named_digests([address], clock=lambda: NOW))


@pytest.mark.parametrize(("days", "believed"), [(-2, "no"), (-1, "yes"), (0, "yes"), (30, "yes"), (31, "no")])
def test_it_is_believed_for_a_while(days: int, believed: str) -> None:
    """A token is believed for EMAIL_SUPPRESSION_TOKEN_AGE days, and from a clock that is a day ahead."""
    assert named(at_time(ANN, clock=lambda: NOW), NOW + days * DAY) is (believed == "yes")


def test_a_rotated_key_is_believed(settings: Settings) -> None:
    """Tokens of a former SECRET_KEY hold while it is among the fallbacks."""
    address = at_time(ANN, clock=lambda: NOW)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert not named(address)
    settings.SECRET_KEY_FALLBACKS = [former]
    assert named(address)


@given(st.integers(0, 31), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_no_letter_can_be_changed(position: int, letter: str) -> None:
    """Any other letter in any place makes it worthless."""
    local_part, _, domain = at_time(ANN, clock=lambda: NOW).partition("@")
    token = local_part.partition("+")[2]
    changed = token[:position] + letter + token[position + 1 :]
    assert named(f"bounces+{changed}@{domain}") is (changed == token)


@given(st.text(max_size=80))
def test_any_text_may_come(text: str) -> None:
    """Whatever an address looks like, it names nobody and raises nothing."""
    assert named_digests([text, f"bounces+{text}@shop.example"]) == frozenset()


@pytest.mark.django_db
@pytest.mark.parametrize("by", ["header", "envelope"])
def test_a_token_proves_a_bounce_without_a_message_id(by: str) -> None:
    """S31: a report to the address that we made for this recipient is genuine, though it returns nothing."""
    to = bounce_address(ANN)
    raw = bounce(message_id="", to=to if by == "header" else "bounces@shop.example")
    result = process_bounce(raw, recipient=to if by == "envelope" else "")
    assert (result.outcome, result.suppressed) == (BounceOutcome.SUPPRESSED, (ANN,))


@pytest.mark.django_db
def test_a_token_is_for_its_recipient_alone() -> None:
    """S31: with a genuine token of one's own, nobody can have another suppressed."""
    raw = bounce(group(BOB), message_id="", to=bounce_address(ANN))
    assert process_bounce(raw).outcome is BounceOutcome.FORGED


def test_the_mail_carries_it(mailed: Callable[..., OutboxMessage]) -> None:
    """As a mail's sender it is the envelope's return path, and the bounce to it is believed after the row is gone."""
    row = mailed(ANN, sender=bounce_address(ANN))
    to = row.reverse_path
    row.delete()
    assert process_bounce(bounce(), recipient=to).suppressed == (ANN,)


@pytest.mark.parametrize("path", [None, "bounces", "not an address", f"{'b' * 32}@shop.example"])
def test_a_return_path_that_cannot_be(settings: Settings, path: str | None) -> None:
    """A missing, malformed or too long return path is a clear error, and found by ``check`` where it is set."""
    settings.EMAIL_SUPPRESSION_RETURN_PATH = path
    with pytest.raises(ImproperlyConfigured, match="EMAIL_SUPPRESSION_RETURN_PATH must"):
        bounce_address(ANN)
    found = [message.id for message in check_suppression()]
    assert found == ([] if path is None else ["robust_email_suppression.E001"])
    assert "check_suppression" in {getattr(check, "__name__", "") for check in checks.registry.get_checks()}


def test_only_a_mailbox_has_a_bounce_address() -> None:
    """What is no mailbox is an error of the caller's."""
    with pytest.raises(InvalidAddress):
        bounce_address("ann@")

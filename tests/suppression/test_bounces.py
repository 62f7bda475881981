"""S31: which refusals, bounces and complaints suppress an address, and which are not believed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection
from django.test import override_settings
from django.utils import timezone

from robust_email.outbox import enqueue
from robust_email.suppression import process_bounce
from robust_email.suppression.conf import suppression_settings
from robust_email.suppression.models import Effect, Source, SuppressedAddress, SuppressionEvidence
from robust_email.suppression.selectors import is_suppressed
from robust_email.suppression.services import BounceOutcome, erase, lift, suppress
from robust_email.testing import At, Fault, Reply
from tests.suppression.letters import (
    ABSENCE_NOTE,
    ANN,
    BOB,
    FORWARDED_BY_A_PERSON,
    OURS,
    WITH_A_DISCLAIMER,
    bounce,
    complaint,
    group,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.outbox.models import OutboxMessage
    from robust_email.testing import ScriptedServer

    Mailed = Callable[..., OutboxMessage]

SUPPRESSING = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"]
HARMLESS = ["4.1.1", "4.2.2", "5.7.1", "5.7.26", "5.0.0", "5.2.2", "5.3.4", "5.1.8", ""]


@pytest.mark.parametrize("status", SUPPRESSING)
def test_s31_a_bounce_suppresses(mailed: Mailed, status: str) -> None:
    """S31: a report that there is no such mailbox suppresses the address, with its reason and an end."""
    mailed(ANN)
    result = process_bounce(bounce(group(status=status)))
    assert (result.outcome, result.suppressed) == (BounceOutcome.SUPPRESSED, (ANN,))
    row = SuppressedAddress.objects.get()
    assert (row.address, row.reason, row.source, row.status) == (ANN, "refused", Source.REPORT, status)
    assert row.expires_at is not None
    assert row.expires_at > timezone.now() + timedelta(days=6)


@pytest.mark.parametrize("status", HARMLESS)
def test_s31_what_says_nothing_about_the_mailbox_suppresses_nobody(mailed: Mailed, status: str) -> None:
    """S31: 4.x.x and 5.7.x, a full mailbox or a code that says nothing are noted, and nothing follows."""
    mailed(ANN)
    assert process_bounce(bounce(group(status=status))).outcome is BounceOutcome.NOTED
    assert not is_suppressed(ANN)
    assert SuppressionEvidence.objects.get().effect == Effect.NOTHING


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_s31_only_a_failure_counts(mailed: Mailed, action: str) -> None:
    """S31: a report of a delay or of success suppresses nobody, whatever code it carries."""
    mailed(ANN)
    assert process_bounce(bounce(group(action=action))).outcome is BounceOutcome.NOTED
    assert not is_suppressed(ANN)


def test_s31_a_complaint_suppresses(mailed: Mailed) -> None:
    """S31: who complains gets no more mail until a person lifts it; "not spam" is no complaint."""
    mailed(ANN)
    assert process_bounce(complaint("not-spam")).outcome is BounceOutcome.IGNORED
    assert process_bounce(complaint()).outcome is BounceOutcome.SUPPRESSED
    row = SuppressedAddress.objects.get()
    assert (row.reason, row.source, row.expires_at) == ("complaint", Source.FEEDBACK, None)


def test_s31_a_complaint_without_its_recipient(mailed: Mailed) -> None:
    """S31: where the provider leaves the recipient out, the mail says who it was; if it had several, nobody does."""
    mailed(ANN)
    mailed(ANN, BOB, message_id="<2.order@shop.example>")
    assert process_bounce(complaint(rcpt="", message_id="<2.order@shop.example>")).outcome is BounceOutcome.FORGED
    assert process_bounce(complaint(rcpt="")).suppressed == (ANN,)


@pytest.mark.parametrize(
    "forged",
    [
        bounce(message_id="<invented@shop.example>"),
        bounce(message_id=""),
        bounce(group(BOB)),
        bounce(group("ann@example.org")),
        bounce(group("ann@@example.net")),
        bounce(to="bounces+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@shop.example", message_id="<x@y>"),
        complaint(message_id="<invented@shop.example>"),
        complaint(rcpt=f"Original-Rcpt-To: {BOB}\n"),
    ],
    ids=["id", "no id", "another's", "another domain", "no address", "token", "complaint", "complaint about another"],
)
def test_s31_a_forged_report_is_not_believed(mailed: Mailed, forged: bytes) -> None:
    """S31: a report about no mail of ours, or about somebody whom that mail was not for, changes nothing."""
    mailed(ANN)
    result = process_bounce(forged)
    assert (result.outcome, result.suppressed) == (BounceOutcome.FORGED, ())
    assert not SuppressedAddress.objects.exists()
    assert not SuppressionEvidence.objects.exists()


def test_s31_a_mail_that_no_relay_took_cannot_have_bounced(relay: ScriptedServer) -> None:
    """S31: a report about a mail that still waits, or was refused, is forged: nobody can have seen it."""
    enqueue(EmailMessage("Hi", "there", "shop@example.org", [ANN], headers={"Message-ID": OURS}))
    assert process_bounce(bounce()).outcome is BounceOutcome.FORGED


@pytest.mark.parametrize("raw", [ABSENCE_NOTE, FORWARDED_BY_A_PERSON, b"", b"\xff\x00"])
def test_s31_automatic_mail_is_ignored(mailed: Mailed, raw: bytes) -> None:
    """S31: an absence note that speaks of 5.1.1, a forwarded bounce, or noise: nothing happens, nothing is answered."""
    mailed(ANN)
    assert process_bounce(raw).outcome is BounceOutcome.IGNORED
    assert not is_suppressed(ANN)


def test_s31_malformed_and_wrapped(mailed: Mailed) -> None:
    """S31: a report that says nothing is malformed; one inside a gateway's wrapping counts."""
    mailed(ANN)
    assert process_bounce(bounce(group(action="?"))).outcome is BounceOutcome.MALFORMED
    assert process_bounce(WITH_A_DISCLAIMER).outcome is BounceOutcome.SUPPRESSED


def test_one_of_several_recipients_bounces(mailed: Mailed) -> None:
    """Of a mail for two, only the one who bounced is suppressed; case does not matter."""
    mailed(ANN, BOB)
    assert process_bounce(bounce(group("Bob@EXAMPLE.net"), group("carl@example.net"))).suppressed == (BOB,)
    assert (is_suppressed(ANN), is_suppressed("BOB@example.net")) == (False, True)


def test_one_report_is_one_piece_of_evidence_about_an_address(mailed: Mailed) -> None:
    """A report that says a thousand things about one address is one row, and what suppresses is not hidden by it."""
    mailed(ANN)
    said = [group(status=f"5.9.{number}") for number in range(500)]
    assert process_bounce(bounce(*said, group(status="5.1.1"), *said)).suppressed == (ANN,)
    assert [each.status for each in SuppressionEvidence.objects.all()] == ["5.1.1"]


def test_the_same_report_twice_is_one_piece_of_evidence(mailed: Mailed) -> None:
    """Read once more, a report changes nothing: not even what a person lifted since."""
    mailed(ANN)
    process_bounce(bounce())
    lift(SuppressedAddress.objects.get(), remark="she wrote to us")
    assert process_bounce(bounce()).outcome is BounceOutcome.SUPPRESSED
    assert not is_suppressed(ANN)
    assert [each.effect for each in SuppressionEvidence.objects.all()] == [Effect.SUPPRESSED, Effect.LIFTED]


def test_a_new_refusal_after_lifting_suppresses_again(mailed: Mailed) -> None:
    """What was lifted comes back with the next bounce, which is about another mail."""
    mailed(ANN)
    process_bounce(bounce())
    lift(SuppressedAddress.objects.get())
    mailed(ANN, message_id="<2.order@shop.example>")
    process_bounce(bounce(message_id="<2.order@shop.example>"))
    assert is_suppressed(ANN)


def test_a_term_ends_and_is_only_ever_lengthened(mailed: Mailed, settings: Settings) -> None:
    """A shorter term does not end a longer one early; what is over counts no more."""
    suppress(ANN, expires_at=timezone.now() + timedelta(days=400))
    mailed(ANN, kind="x")
    until = SuppressedAddress.objects.get().expires_at
    settings.EMAIL_SUPPRESSION_EXEMPT_KINDS = ["notice"]
    mailed(ANN, kind="notice", message_id="<2.order@shop.example>")
    process_bounce(bounce(message_id="<2.order@shop.example>"))
    assert SuppressedAddress.objects.get().expires_at == until
    SuppressedAddress.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not is_suppressed(ANN)
    mailed(ANN, message_id="<3.order@shop.example>")
    process_bounce(bounce(message_id="<3.order@shop.example>"))
    assert SuppressedAddress.objects.get().reason == "refused"
    assert is_suppressed(ANN)


# -- the relay's own replies


@pytest.mark.parametrize("at", [At.RCPT, At.FINAL])
@pytest.mark.parametrize("reply", ["550 5.1.1 No such user", "550 5.2.1 Disabled"])
def test_a_refusal_in_the_session_suppresses(relay: ScriptedServer, mailed: Mailed, at: At, reply: str) -> None:
    """A relay that refuses a recipient with one of the policy's codes suppresses him; the reply is the evidence."""
    relay.add_fault(Fault(at, Reply(reply)))
    assert mailed(ANN).state == "refused"
    row, evidence = SuppressedAddress.objects.get(), SuppressionEvidence.objects.get()
    assert (row.address, row.source, row.status) == (ANN, Source.RELAY, reply[4:9])
    assert (evidence.message_id, evidence.detail) == (OURS, reply)


@pytest.mark.parametrize("reply", ["550 No such user", "550 5.7.1 Denied", "450 4.1.1 Not yet", "550 5.1.8 Bad sender"])
def test_other_replies_suppress_nobody(relay: ScriptedServer, mailed: Mailed, reply: str) -> None:
    """A 550 without an enhanced code, a policy refusal and a deferral leave the address alone."""
    relay.add_fault(Fault(At.RCPT, Reply(reply)))
    mailed(ANN)
    assert not SuppressedAddress.objects.exists()


def test_a_refused_mail_is_no_refused_recipient(relay: ScriptedServer, mailed: Mailed) -> None:
    """5.1.1 after the data of a mail for two, or to MAIL, is about nobody in particular."""
    relay.add_fault(Fault(At.FINAL, Reply("550 5.1.1 No such user"), times=1))
    mailed(ANN, BOB)
    relay.add_fault(Fault(At.MAIL, Reply("550 5.1.1 No such user"), times=1))
    mailed(ANN, message_id="<2.order@shop.example>")
    assert not SuppressedAddress.objects.exists()


def test_the_direct_backends_refusals_count(relay: ScriptedServer) -> None:
    """Mail that goes by the backend without an outbox suppresses as well, by the signal ``refused``."""
    relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 No such user"), subject="ann"))
    direct = get_connection("robust_email.backend.RobustSMTPEmailBackend")
    assert EmailMessage("Hi", "there", "shop@example.org", [ANN, BOB], connection=direct).send() == 1
    assert (is_suppressed(ANN), is_suppressed(BOB)) == (True, False)


# -- policy


def test_the_policy_may_say_more_and_less(relay: ScriptedServer, mailed: Mailed, settings: Settings) -> None:
    """Keys are laid over the defaults: 0 is never, None for ever, a reply code is for replies without a status."""
    settings.EMAIL_SUPPRESSION_POLICY = {"5.1.1": 0, "5.7.1": None, "550": 1}
    relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 No such user"), times=1))
    mailed(ANN)
    assert not is_suppressed(ANN)
    relay.add_fault(Fault(At.RCPT, Reply("550 5.7.1 Denied"), times=1))
    mailed(ANN, message_id="<2@shop.example>")
    assert SuppressedAddress.objects.get().expires_at is None
    relay.add_fault(Fault(At.RCPT, Reply("550 go away"), times=1))
    mailed(BOB, message_id="<3@shop.example>")
    assert SuppressedAddress.objects.get(address=BOB).status == "550"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLICY", {"4.1.1": 3}),
        ("POLICY", {"5.1": 3}),
        ("POLICY", {"5.1.1": -1}),
        ("POLICY", ["5.1.1"]),
        ("EXEMPT_KINDS", "notice"),
        ("TOKEN_AGE", 0),
    ],
)
def test_a_wrong_setting_is_named(settings: Settings, name: str, value: object) -> None:
    """What cannot be meant is refused with the setting's name: a temporary code can suppress nobody."""
    setattr(settings, f"EMAIL_SUPPRESSION_{name}", value)
    with pytest.raises(ImproperlyConfigured, match=f"EMAIL_SUPPRESSION_{name} must be"):
        suppression_settings()


def test_without_an_outbox_the_app_refuses_to_load() -> None:
    """The app says what it needs as soon as Django starts."""
    apps = ["django.contrib.contenttypes", "django.contrib.auth", "robust_email", "robust_email.suppression"]
    with (
        pytest.raises(ImproperlyConfigured, match=r"needs robust_email\.outbox"),
        override_settings(INSTALLED_APPS=apps),
    ):
        pass


# -- what is kept


@pytest.mark.django_db
def test_evidence_is_never_changed() -> None:
    """Evidence can be added, and neither saved again nor updated."""
    suppress(ANN, remark="asked for it; see mail of bob@example.net")
    [evidence] = SuppressionEvidence.objects.all()
    assert "bob@example.net" not in evidence.detail
    for change in (
        evidence.save,
        lambda: SuppressionEvidence.objects.update(effect=Effect.NOTHING),
        lambda: SuppressionEvidence.objects.bulk_update([evidence], ["effect"]),
    ):
        with pytest.raises(TypeError, match="never changed"):
            change()


@pytest.mark.django_db
def test_an_address_is_forgotten_and_stays_suppressed() -> None:
    """Erasing leaves the digest: the address is nowhere in the tables, and gets no mail."""
    suppress(ANN)
    assert erase("Ann@Example.NET") == 1
    assert is_suppressed(ANN)
    assert "ann" not in f"{[*SuppressedAddress.objects.values_list()]}{[*SuppressionEvidence.objects.values_list()]}"

"""A mailbox that is not there gets no more mail from the shop, but what its owner asks for (S31, S32)."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings as project
from django.core.management import call_command

from authentication.core.models import User
from authentication.verification.kinds import KINDS, ORDER_CONFIRMATION, PASSWORD_RESET
from authentication.verification.tasks import purge, send_password_reset_email
from e_commerce_api.orders.services import Line, place_order
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.outbox.tasks import deliver
from robust_email.suppression.models import Reason, SuppressedAddress, SuppressionEvidence
from robust_email.suppression.selectors import is_suppressed
from robust_email.suppression.services import suppress
from robust_email.testing import At, Fault, Reply, ScriptedServer
from tests.service.customers import ADDRESS, PASSWORD, Device, last_code, mails

Relay = Callable[..., ScriptedServer]

pytestmark = pytest.mark.django_db(transaction=True)

GONE = Fault(At.RCPT, Reply("550 5.1.1 No such user"), subject=ADDRESS, times=1)
FIND, LIFT = "/api/support/suppressions/find/", "/api/support/suppressions/lift/"


def order(customer: User) -> OutboxMessage:
    """Place an order, and have a worker hand its confirmation over; return the mail's row."""
    place_order(customer=customer, reference=uuid4(), lines=[Line("Teapot", 1, 3490)])
    row = mails(ORDER_CONFIRMATION.name)[-1]
    deliver.apply(args=(str(row.pk),))
    row.refresh_from_db()
    return row


def test_s32_a_mailbox_that_is_gone_gets_codes_and_nothing_else(customer: User, relay: Relay) -> None:
    """S32: after one 5.1.1 the next confirmation is not submitted, its row says why, and a code for a reset goes."""
    server = relay(GONE)
    first = order(customer)
    assert (first.state, first.reason, first.attempts) == ("refused", "550 5.1.1 No such user", 1)
    assert is_suppressed(ADDRESS)
    connections, attempts = server.connections, SubmissionAttempt.objects.count()
    second = order(customer)
    assert (second.state, second.reason, second.attempts) == ("refused", "suppressed: refused for good 5.1.1", 0)
    to = OutboxRecipient.objects.get(message=second)
    assert (to.standing, to.reason) == ("refused", second.reason)
    assert (server.connections, SubmissionAttempt.objects.count(), server.accepted) == (connections, attempts, [])
    Device().ask_for_reset()
    [reset] = mails(PASSWORD_RESET.name)
    assert send_password_reset_email.apply(args=(str(reset.pk),)).get()["status"] == "success"
    assert [message.forward_paths for message in server.accepted] == [(ADDRESS,)]
    assert is_suppressed(ADDRESS)


def test_a_code_that_comes_back_ends_a_refusal(customer: User, relay: Relay) -> None:
    """The owner enters the code: the mailbox is there, and confirmations go again."""
    server = relay(GONE)
    order(customer)
    device = Device()
    device.ask_for_reset()
    assert device.reset(last_code(PASSWORD_RESET.name)).status_code in {200, 401}
    assert not is_suppressed(ADDRESS)
    assert order(customer).state == "accepted"
    assert len(server.accepted) == 1


@pytest.mark.parametrize("reason", list(Reason))
def test_a_proven_address_takes_back_no_complaint(reason: Reason) -> None:
    """What a server said is over with the code of a registration; what the owner said, or we decided, is not."""
    device = Device()
    device.sign_up()
    suppress(ADDRESS)
    SuppressedAddress.objects.update(reason=reason)
    assert device.verify(last_code()).status_code == 200
    assert is_suppressed(ADDRESS) is (reason is not Reason.REFUSED)


def test_what_is_exempt_is_a_kind() -> None:
    """The settings name kinds that there are; what strangers can cause and nobody waits for is none of them."""
    assert set(project.EMAIL_SUPPRESSION_EXEMPT_KINDS) <= set(KINDS)
    assert {kind.name for kind in KINDS.values() if kind.secret} <= set(project.EMAIL_SUPPRESSION_EXEMPT_KINDS)
    assert not {"account-exists", "order-confirmation"} & set(project.EMAIL_SUPPRESSION_EXEMPT_KINDS)


def test_an_answer_says_nothing_of_it(customer: User, relay: Relay) -> None:
    """What a customer reads of his mails says that one was refused, and neither why nor that there is a list."""
    relay(GONE)
    order(customer)
    order(customer)
    device = Device()
    device.log_in()
    found = device.ask("GET", "/api/account/emails/").json()["results"]
    assert [mail["state"] for mail in found] == ["refused", "refused"]
    assert found[0].keys() == found[1].keys()
    assert found[0]["in_words"] == found[1]["in_words"]
    assert "suppress" not in str(found)


def test_staff_see_and_lift(customer: User, relay: Relay) -> None:
    """Support finds why an address is suppressed, lifts it, and the evidence says who did."""
    relay(GONE)
    order(customer)
    staff = User.objects.create_superuser("support@shop.example", PASSWORD)
    EmailAddress.objects.create(user=staff, email=staff.email, verified=True, primary=True)
    device = Device()
    assert device.log_in(staff.email).status_code == 200
    [found] = device.post(FIND, {"email": ADDRESS.upper()}).json()
    assert (found["reason"], found["status"], found["evidence"][0]["detail"]) == (
        "refused",
        "5.1.1",
        "550 5.1.1 No such user",
    )
    assert [device.post(LIFT, {"email": ADDRESS}).status_code for _ in range(2)] == [204, 204]
    assert device.post(FIND, {"email": ADDRESS}).json() == device.post(FIND, {"email": "nobody"}).json() == []
    assert [each.detail for each in SuppressionEvidence.objects.all()][-1] == f"by staff {staff.pk}"


def test_the_shops_purge_has_it() -> None:
    """The one daily task of the shop removes what is over."""
    suppress(ADDRESS)
    SuppressedAddress.objects.update(expires_at="2020-01-01T00:00Z")
    result = purge.apply().get()
    assert (result["suppressions"], result["evidence"]) == (1, 0)
    assert not SuppressedAddress.objects.exists()


def test_the_tables_are_the_models() -> None:
    """``migrate``, as the demo and the containers run it, leaves nothing to be made."""
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    call_command("check", "--tag", "mail")

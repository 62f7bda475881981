"""The admin: who sees what, suppressing by hand, lifting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from robust_email.suppression.models import Effect, SuppressedAddress, SuppressionEvidence
from robust_email.suppression.selectors import is_suppressed
from robust_email.suppression.services import suppress
from tests.outbox.admin.conftest import new_user
from tests.suppression.letters import ANN, BOB

if TYPE_CHECKING:
    from collections.abc import Callable

    LogIn = Callable[..., Client]

LIST = "admin:robust_email_suppression_suppressedaddress_changelist"
ADD = "admin:robust_email_suppression_suppressedaddress_add"
CHANGE = "admin:robust_email_suppression_suppressedaddress_change"
DELETE = "admin:robust_email_suppression_suppressedaddress_delete"


@pytest.fixture
def log_in(db: None) -> LogIn:
    """Give a function that logs a member of staff in who has these permissions."""

    def log_in(*permissions: str) -> Client:
        user = new_user("staff@example.com", is_staff=True)
        user.save()
        for name in permissions:
            user.user_permissions.add(
                Permission.objects.get(content_type__app_label="robust_email_suppression", codename=name)
            )
        client = Client()
        client.force_login(user)
        return client

    return log_in


def text(client: Client, name: str, *args: object, **query: str) -> str:
    """Return a page."""
    response = client.get(reverse(name, args=args), query)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("permission", ["view_address", ""])
def test_addresses_are_masked(log_in: LogIn, permission: str) -> None:
    """Without view_address no page holds an address; with it, the list and the detail do."""
    row = suppress(ANN, remark="he asked")
    client = log_in("view_suppressedaddress", *filter(None, [permission]))
    for page in (text(client, LIST), text(client, CHANGE, row.pk)):
        assert (ANN in page) is bool(permission)
    assert "he asked" in text(client, CHANGE, row.pk)


def test_an_address_is_found_as_a_whole(log_in: LogIn) -> None:
    """The search takes a whole address in any case, and no beginning of one."""
    suppress(ANN)
    client = log_in("view_suppressedaddress")
    assert "a***@e***.net" in text(client, LIST, q="ANN@example.net")
    assert "a***@e***.net" not in text(client, LIST, q="ann")
    assert "a***@e***.net" not in text(client, LIST, q="ann@")


def test_a_person_suppresses(log_in: LogIn) -> None:
    """The form takes an address once, keeps the remark, and says what is no address."""
    client = log_in("add_suppressedaddress", "view_suppressedaddress")
    given = {"address": "Bob@example.net", "remark": "by telephone", "expires_at_0": "", "expires_at_1": ""}
    assert client.post(reverse(ADD), given).status_code == 302
    assert is_suppressed(BOB)
    assert "by telephone" in SuppressionEvidence.objects.get().detail
    assert "suppressed already" in client.post(reverse(ADD), given).content.decode()
    assert "Invalid address" in client.post(reverse(ADD), {**given, "address": "bob@"}).content.decode()
    assert SuppressedAddress.objects.count() == 1


@pytest.mark.parametrize("how", ["one", "action"])
def test_a_person_lifts(log_in: LogIn, how: str) -> None:
    """Deleting lifts the suppression; the evidence stays and says so."""
    row = suppress(ANN)
    client = log_in("delete_suppressedaddress", "view_suppressedaddress")
    if how == "one":
        client.post(reverse(DELETE, args=[row.pk]), {"post": "yes"})
    else:
        client.post(reverse(LIST), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert not is_suppressed(ANN)
    assert [each.effect for each in SuppressionEvidence.objects.all()] == [Effect.SUPPRESSED, Effect.LIFTED]


def test_nobody_without_permission(log_in: LogIn) -> None:
    """A member of staff without permissions sees, adds and lifts nothing; nobody edits."""
    row = suppress(ANN)
    client = log_in()
    for name, args in ((LIST, []), (ADD, []), (CHANGE, [row.pk]), (DELETE, [row.pk])):
        assert client.get(reverse(name, args=args)).status_code == 403
    other = Client()
    root = new_user("root@example.com", is_staff=True, is_superuser=True)
    root.save()
    other.force_login(root)
    assert other.post(reverse(CHANGE, args=[row.pk]), {"address": BOB}).status_code == 403

"""The list over a table of any size: bounded, by indexes, and still finding what is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from robust_email.outbox.dashboard import listing
from robust_email.outbox.states import State
from tests.outbox.admin.conftest import DASHBOARD, list_url, make_attempt, make_mail

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db


def listed(client: Client, query: str = "") -> list[str]:
    """Return the keys of the mails on the page."""
    page = client.get(list_url(query)).content.decode()
    return re.findall(r'<a href="/admin/robust_email_outbox/outboxmessage/([0-9a-f-]{36})/change/[^"]*">a', page)


def test_the_newest_are_first(operator: Client) -> None:
    """Without a filter mails are in the order they were made, the last first."""
    rows = [make_mail(state) for state in (State.QUEUED, State.DEAD, State.ACCEPTED)]
    assert listed(operator) == [str(row.pk) for row in reversed(rows)]


@pytest.mark.parametrize("state", State.values)
def test_by_state(state: str, operator: Client) -> None:
    """Each state's filter gives the mails in that state, and no others."""
    rows = {each: make_mail(each) for each in State.values}
    assert listed(operator, f"?state={state}") == [str(rows[state].pk)]


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("ann@example.net", True),
        ("ann@EXAMPLE.net", True),
        ("<known@shop.example>", True),
        ("known@shop.example", True),
        ("KEY", True),
        ("ann@example", False),
        ("ann", False),
        ("%", False),
        ("11111111-1111-7111-8111-111111111111", False),
    ],
)
def test_search(term: str, *, found: bool, operator: Client) -> None:
    """A whole address, a Message-ID with or without its brackets, or a key finds a mail; a part of one does not."""
    row = make_mail(message_id="<known@shop.example>")
    make_mail(to=["another@example.org"])
    assert listed(operator, f"?q={str(row.pk) if term == 'KEY' else term}") == [str(row.pk)] * found


def test_relay_and_kind(operator: Client) -> None:
    """Both narrow, together with a state and without."""
    row = make_mail(State.DEAD, relay="ref:7", kind="order")
    make_mail(State.DEAD, relay="default", kind="news")
    for query in (
        "?relay=ref:7",
        "?kind=order",
        "?relay=ref:7&state=dead",
        "?kind=order&state=dead",
        "?within=hour&kind=order",
    ):
        assert listed(operator, query) == [str(row.pk)]


def test_by_age(operator: Client) -> None:
    """The last hour's filter leaves out what was made before, by the key alone."""
    make_mail(pk=listing.made_since(2 * 3600))
    new = make_mail()
    assert listed(operator, "?within=hour") == [str(new.pk)]
    assert len(listed(operator, "?within=day")) == 2


def test_filters_over_many_look_among_the_newest(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column without an index is looked for among the newest mails only, unless a rare state narrows the list."""
    monkeypatch.setattr(listing, "SIFTED", 2)
    old_dead = make_mail(State.DEAD, kind="order")
    for _ in range(3):
        make_mail(State.ACCEPTED, kind="order")
    assert len(listed(operator, "?kind=order")) == 2
    assert listed(operator, "?kind=order&state=dead") == [str(old_dead.pk)]


def test_no_page_counts_the_table(operator: Client) -> None:
    """No statement of a list or the dashboard counts mails or attempts but under a limit or by a partial index."""
    row = make_mail(State.ACCEPTED)
    make_attempt(row)
    with CaptureQueriesContext(
        connection,
    ) as statements:
        for url in (list_url(), list_url("?state=accepted"), list_url("?q=ann@example.net"), DASHBOARD):
            assert operator.get(url).status_code == 200
    counts = [each["sql"] for each in statements if "COUNT(" in each["sql"]]
    assert counts
    bounded = re.compile(r"LIMIT \d+\)|IS NOT NULL|\"ended_at\" > ")
    assert [sql for sql in counts if not bounded.search(sql)] == []


def test_paging_ends_at_the_reach(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many mails there are, the list counts to its reach, and says that there are more."""
    monkeypatch.setattr(listing, "REACH", 60)
    for _ in range(70):
        make_mail()
    page = operator.get(list_url("?p=2"))
    assert "reaches back to 60 mails" in page.content.decode()
    assert len(listed(operator, "?p=2")) == 10


def test_a_list_costs_a_fixed_number_of_statements(operator: Client) -> None:
    """Two mails cost as many statements as thirty."""
    make_mail(), make_mail()
    with CaptureQueriesContext(connection) as few:
        operator.get(list_url())
    for _ in range(28):
        make_mail(to=["ann@example.net", "bob@example.net", "cy@example.net"])
    with CaptureQueriesContext(connection) as many:
        operator.get(list_url())
    assert len(many) == len(few)
    assert not [each for each in many if '"content"' in each["sql"]]

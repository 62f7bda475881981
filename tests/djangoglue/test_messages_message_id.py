"""One mail has one Message-ID, and a dead resolver costs no one the time to make it."""

from __future__ import annotations

import email
import gc
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMessage
from django.core.mail.utils import DNS_NAME

from robust_email import message_id
from robust_email.identity import keep_identity
from robust_email.messages import mail_data_of
from robust_email.smtp.headers import header_names
from tests.djangoglue.message_corpus import mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def dead_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Make ``getfqdn()`` wait for the event, in a process that has not asked before."""
    answer = threading.Event()

    def getfqdn(name: str = "") -> str:
        assert answer.wait(10)
        return "fully.qualified.example"

    monkeypatch.setattr(socket, "getfqdn", getfqdn)
    monkeypatch.delattr(DNS_NAME, "_fqdn", raising=False)
    monkeypatch.setattr(message_id, "_lookup", message_id.HostNameLookup())
    monkeypatch.setattr(message_id, "LONGEST_WAIT", 0.05)
    yield answer
    answer.set()
    _join_lookups()
    DNS_NAME.__dict__.pop("_fqdn", None)


def _join_lookups() -> None:
    for thread in threading.enumerate():
        if thread.name == "host name":
            thread.join(10)


def domain_of(message: EmailMessage, domain: str | None = None) -> str:
    """Return what follows the @ in the new Message-ID."""
    found = mail_data_of(message, message_id_domain=domain).message_id
    assert found
    return found.strip("<>").rpartition("@")[2]


def test_message_id_has_djangos_host_name() -> None:
    """Without more ado the domain is that of Django's own Message-IDs."""
    assert domain_of(mail()) == str(DNS_NAME)


def test_message_id_domain_can_be_given(dead_resolver: threading.Event) -> None:
    """A given domain is used, and DNS is not asked at all."""
    assert domain_of(mail(), "mail.example.com") == "mail.example.com"
    assert not [thread for thread in threading.enumerate() if thread.name == "host name"]


def test_given_domain_changes_nothing_else() -> None:
    """The header block has the same fields in the same order, with and without a given domain."""
    headers = {"X-First": "1", "Date": "Tue, 24 Nov 2026 06:30:00 -0000", "X-Last": "2"}
    for extra in ({}, headers):
        with_domain = mail_data_of(mail(headers=extra), message_id_domain="example.com")
        assert header_names(with_domain.content) == header_names(mail_data_of(mail(headers=extra)).content)


def test_own_message_id_needs_no_host_name(dead_resolver: threading.Event) -> None:
    """An application's own Message-ID stays, whatever domain is given."""
    message = mail(headers={"message-ID": "<own@app.example>"})
    assert mail_data_of(message, message_id_domain="example.com").message_id == "<own@app.example>"
    assert not [thread for thread in threading.enumerate() if thread.name == "host name"]


def test_dead_resolver_does_not_hang_rendering(dead_resolver: threading.Event) -> None:
    """The first mail waits a moment, the others not at all; with the answer, Django's name is back."""
    started = time.monotonic()
    domains = {domain_of(mail()) for _ in range(20)}
    assert time.monotonic() - started < 2
    assert domains == {socket.gethostname()}
    dead_resolver.set()
    _join_lookups()
    assert domain_of(mail()) == "fully.qualified.example"


def test_forked_child_asks_again(dead_resolver: threading.Event) -> None:
    """A child has not got the thread in which its parent asked: it starts its own."""
    lookup = message_id.HostNameLookup()
    assert not lookup.is_answered()
    lookup._asked_by = -1  # as seen in another process
    dead_resolver.set()
    lookup._patience_ends = 0
    assert lookup.is_answered() or lookup._asked_by != -1
    _join_lookups()
    assert lookup.is_answered()


def test_host_name_that_is_no_domain_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that IDNA refuses costs no mail."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "ü" * 80 + ".example")
    monkeypatch.delattr(DNS_NAME, "_fqdn", raising=False)
    monkeypatch.setattr(message_id, "_lookup", message_id.HostNameLookup())
    monkeypatch.setattr(message_id, "LONGEST_WAIT", 0.05)
    assert domain_of(mail()) == socket.gethostname()
    _join_lookups()


def dated(message: EmailMessage) -> tuple[str, str]:
    """Render, and return Message-ID and Date."""
    parsed = email.message_from_bytes(mail_data_of(message).content)
    return parsed["Message-ID"], parsed["Date"]


def kept(message: EmailMessage) -> tuple[str, str]:
    """Try once in vain: render, and remember. Return Message-ID and Date."""
    data = mail_data_of(message)
    keep_identity(message, data)
    parsed = email.message_from_bytes(data.content)
    return parsed["Message-ID"], parsed["Date"]


def test_failed_message_keeps_its_identity() -> None:
    """Tried again unchanged, it has the same Message-ID and Date, in the same places; and again after that."""
    message = mail(headers={"X-Any": "1"})
    first = mail_data_of(message)
    keep_identity(message, first)
    second = mail_data_of(message)
    assert second.content == first.content
    keep_identity(message, second)
    assert mail_data_of(message).content == first.content
    assert message.extra_headers == {"X-Any": "1"}


def test_accepted_message_gets_a_new_identity() -> None:
    """A second ``send()`` after an accepted one is a second mail, as in Django: the daily alert is not a duplicate."""
    message = mail()
    assert dated(message)[0] != dated(message)[0]
    first = kept(message)
    assert dated(message) == first
    assert dated(message)[0] != first[0]


CHANGES: dict[str, Callable[[EmailMessage], object]] = {
    "subject": lambda message: setattr(message, "subject", "Other"),
    "body": lambda message: setattr(message, "body", "Other"),
    "recipient added in place": lambda message: message.to.append("second@example.org"),
    "header added in place": lambda message: message.extra_headers.update({"X-New": "1"}),
    "attachment": lambda message: message.attach("a.txt", "text", "text/plain"),
    "attribute of a subclass": lambda message: setattr(message, "own_attribute", "other"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_message_gets_a_new_identity(change: Callable[[EmailMessage], object]) -> None:
    """A message that was changed since is another mail."""
    message = mail(headers={"X-Any": "1"})
    first = kept(message)
    change(message)
    assert dated(message)[0] != first[0]


def test_report_on_the_message_is_no_change() -> None:
    """What a backend leaves on the message does not make it another mail."""
    message = mail()
    first = kept(message)
    message.smtp_report = object()  # type: ignore[attr-defined]  # as RobustSMTPEmailBackend sets it
    assert dated(message) == first


def test_own_date_and_message_id_are_kept() -> None:
    """The application's own headers stay the only ones of their name."""
    own = {"X-First": "1", "DATE": "Tue, 24 Nov 2026 06:30:00 -0000", "Message-Id": "<own@example.com>"}
    message = mail(headers=own)
    first = mail_data_of(message)
    keep_identity(message, first)
    assert mail_data_of(message).content == first.content


def test_kept_identity_does_not_keep_the_message() -> None:
    """A message that failed is freed as soon as the application lets go of it."""
    from robust_email import identity

    gc.collect()
    before = len(identity._kept)
    message = mail()
    kept(message)
    assert len(identity._kept) == before + 1
    del message
    gc.collect()
    assert len(identity._kept) == before


def test_message_class_without_a_hash_is_rendered_as_in_django() -> None:
    """A subclass that cannot be remembered gets a new identity each time, and no error."""

    class Comparable(EmailMessage):
        __hash__ = None  # type: ignore[assignment]  # what defining __eq__ does

    other = mail()
    keep_identity(other, mail_data_of(other))
    message = Comparable("s", "b", "a@example.com", ["b@example.org"])
    assert kept(message)[0] != dated(message)[0]

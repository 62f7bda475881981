"""Which relay a mail leaves through: kept with the row, found again, never another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection, send_mail

from robust_email import _compat
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.outbox import checks, enqueue
from robust_email.outbox.backend import OutboxEmailBackend
from robust_email.outbox.dispatch import run_batch
from robust_email.outbox.models import OutboxMessage, OutboxRelay
from robust_email.outbox.relays import Relay, backend_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.mail.backends.base import BaseEmailBackend
    from pytest_django import Settings

    from robust_email.testing import ScriptedServer

pytestmark = pytest.mark.parametrize("outbox_url", ["sqlite"], indirect=True)

OUTBOX = "robust_email.outbox.backend.OutboxEmailBackend"
PORTS: dict[str, int] = {}


def resolve(reference: str) -> BaseEmailBackend:
    """Find a tenant's relay, as a project's ``EMAIL_OUTBOX_RELAY_RESOLVER`` does."""
    return RobustSMTPEmailBackend(host="127.0.0.1", port=PORTS[reference], **_compat.alias_argument(None))


def resolve_to_nothing(reference: str) -> None:
    """Be wrong."""


def test_without_keys_credentials_are_refused_at_the_enqueue(outbox_url: str, relay: ScriptedServer) -> None:
    """A relay of one's own that can't be kept safely is a clear error, before anything is written."""
    with pytest.raises(ImproperlyConfigured, match="EMAIL_OUTBOX_SECRET_KEYS"):
        get_connection(host="127.0.0.1", port=2525, username="tenant", password="secret")
    assert not OutboxMessage.objects.exists()


def test_credentials_are_kept_encrypted_and_used(
    outbox_url: str, relay: ScriptedServer, settings: Settings, smtp_faults: Callable[..., ScriptedServer]
) -> None:
    """A tenant's mail goes through the tenant's server with its log-in; the row shows neither host nor password."""
    settings.EMAIL_OUTBOX_SECRET_KEYS = [Fernet.generate_key().decode()]
    tenant = smtp_faults(accounts={"tenant": "geheim"}, require_auth=True)
    connection = get_connection(host=tenant.host, port=str(tenant.port), username="tenant", password="geheim")
    send_mail("hi", "there", "shop@example.org", ["ann@example.net"], connection=connection)
    [values] = OutboxMessage.objects.values()
    assert "geheim" not in str(values)
    assert tenant.host not in str(values)
    run_batch()
    assert [message.user for message in tenant.accepted] == ["tenant"]
    assert relay.connections == 0


def test_equal_options_are_one_relay(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """Two mails with the same options share a relay's name, so its troubles are noted once; other options do not."""
    settings.EMAIL_OUTBOX_SECRET_KEYS = [Fernet.generate_key().decode()]
    names = [OutboxEmailBackend(host="a.example", password=word).relay.name for word in ("x", "x", "y")]
    assert names[0] == names[1] != names[2]


def test_a_lost_key_makes_the_mail_wait(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """Without the key nobody guesses another relay: the mail waits and the status says why."""
    settings.EMAIL_OUTBOX_SECRET_KEYS = [Fernet.generate_key().decode()]
    get_connection(host="127.0.0.1").send_messages([EmailMessage("hi", "", "shop@example.org", ["ann@example.net"])])
    settings.EMAIL_OUTBOX_SECRET_KEYS = [Fernet.generate_key().decode()]
    run_batch()
    row = OutboxMessage.objects.get()
    assert (row.state, row.retries) == ("queued", 0)
    assert "opens this mail's relay" in row.reason
    assert OutboxRelay.objects.get().trouble == "misconfigured"
    assert relay.connections == 0


def test_keys_can_be_changed(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """A new key in front of the old one opens what the old one sealed."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.EMAIL_OUTBOX_SECRET_KEYS = [old]
    sealed = OutboxEmailBackend(host="mail.example", port=2525).relay
    settings.EMAIL_OUTBOX_SECRET_KEYS = [new, old]
    backend = backend_for(sealed)
    assert isinstance(backend, RobustSMTPEmailBackend)
    assert (backend.host, backend.port) == ("mail.example", 2525)


def test_a_reference_is_resolved_at_the_hand_over(
    outbox_url: str, relay: ScriptedServer, settings: Settings, smtp_faults: Callable[..., ScriptedServer]
) -> None:
    """A tenant's reference stands in the row, and the project says at the hand-over which relay it is."""
    import tests.outbox.test_relays as module  # under the name by which the resolver is found

    settings.EMAIL_OUTBOX_RELAY_RESOLVER = "tests.outbox.test_relays.resolve"
    tenant = smtp_faults()
    module.PORTS["tenant:42"] = tenant.port
    row = enqueue(EmailMessage("hi", "", "shop@example.org", ["ann@example.net"]), relay="tenant:42")
    assert row.relay == "ref:tenant:42"
    run_batch()
    assert len(tenant.accepted) == 1
    assert relay.connections == 0


def test_a_reference_without_a_resolver_is_an_error(outbox_url: str, relay: ScriptedServer) -> None:
    """What nobody could find again is refused at the enqueue."""
    with pytest.raises(ImproperlyConfigured, match="EMAIL_OUTBOX_RELAY_RESOLVER"):
        enqueue(EmailMessage("hi", "", "shop@example.org", ["ann@example.net"]), relay="tenant:42")


@pytest.mark.parametrize(
    "resolver",
    [
        "tests.outbox.test_relays.resolve_to_nothing",
        "tests.outbox.test_relays.missing",
        "tests.outbox.test_relays.resolve",
    ],
)
def test_a_resolver_that_fails_makes_the_mail_wait(
    outbox_url: str, relay: ScriptedServer, settings: Settings, resolver: str
) -> None:
    """Whatever a resolver does wrong, its mail waits without using up a retry, and other relays' mail goes."""
    settings.EMAIL_OUTBOX_RELAY_RESOLVER = resolver
    row = enqueue(EmailMessage("hi", "", "shop@example.org", ["ann@example.net"]), relay="nobody")
    enqueue(EmailMessage("hi", "", "shop@example.org", ["bob@example.net"]))
    run_batch()
    row.refresh_from_db()
    assert (row.state, row.retries, row.waits_for_relay) == ("queued", 0, True)
    assert len(relay.accepted) == 1


def test_a_loop_is_an_error_at_the_start(outbox_url: str, relay: ScriptedServer, settings: Settings) -> None:
    """An outbox that hands over to itself is found by the system check, and refuses to be built."""
    settings.EMAIL_OUTBOX_BACKEND = OUTBOX
    assert [message.id for message in checks.check_outbox()] == ["robust_email_outbox.E002"]
    with pytest.raises(ImproperlyConfigured, match="round for ever"):
        backend_for(Relay("default"))


def test_the_checks_are_silent_where_all_is_well(outbox_url: str, relay: ScriptedServer) -> None:
    """A sound project gets no message."""
    assert checks.check_outbox() == []


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"EMAIL_OUTBOX_BACKEND": "django.core.mail.backends.locmem.EmailBackend"}, "robust_email_outbox.W001"),
        ({"EMAIL_OUTBOX_BACKEND": "no.such.Backend"}, "robust_email_outbox.E001"),
        ({"EMAIL_OUTBOX_WAKEUP": "no.such.WakeUp"}, "robust_email_outbox.E003"),
        ({"EMAIL_OUTBOX_BATCH": "many"}, "robust_email_outbox.E001"),
        ({"EMAIL_OUTBOX_HEARTBEAT": 100}, "robust_email_outbox.E001"),
        ({"EMAIL_OUTBOX_RETENTION": {"acepted": 1}}, "robust_email_outbox.E001"),
        ({"EMAIL_OUTBOX_WAKEUP": "celery", "EMAIL_OUTBOX_RETRY_SCHEDULE": [60, 7200]}, "robust_email_outbox.W002"),
        ({"EMAIL_OUTBOX_WAKEUP": "celery", "EMAIL_OUTBOX_CONFIGURATION_PAUSE": 7200}, "robust_email_outbox.W002"),
    ],
)
def test_the_checks_find(
    outbox_url: str, relay: ScriptedServer, settings: Settings, wrong: dict[str, object], found: str
) -> None:
    """Each mistake has its message."""
    for name, value in wrong.items():
        setattr(settings, name, value)
    assert [message.id for message in checks.check_outbox()] == [found]

"""A Django project's settings for limits, lanes and relays: read, refused, and seen on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage

from robust_email import signals
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.governing import governance_of, relays_of, store_of
from robust_email.governor.store import DatabaseStore
from robust_email.options import MailerOptions
from robust_email.registry import registry
from robust_email.smtp import SMTPConnectionError
from robust_email.smtp.errors import ConfigurationError, HeldBack
from robust_email.smtp.governor import Lane, MemoryStore, Rate, RelayLimits, SharedGovernor
from robust_email.smtp.governor.redis_store import RedisStore
from robust_email.smtp.relays import RelayGroup
from robust_email.testing import At, Fault, Reply, Script, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import Settings

    from robust_email.smtp import Submission


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Each test has clients and stores of its own."""
    store_of.cache_clear()
    registry.close()
    yield
    registry.close()


@pytest.fixture
def backend(settings: Settings) -> Callable[..., RobustSMTPEmailBackend]:
    """Build a backend for a server, by settings."""

    def build(server: ScriptedServer, **given: object) -> RobustSMTPEmailBackend:
        values = {"HOST": server.host, "PORT": server.port, "CONNECTION_RETRY_ATTEMPTS": 1, "TIMEOUT": 10, **given}
        for name, value in values.items():
            setattr(settings, f"EMAIL_{name}", value)
        return RobustSMTPEmailBackend()

    return build


def message(to: str = "ann@example.org", **attributes: object) -> EmailMessage:
    """A message with attributes, to one, from the shop unless they say otherwise."""
    made = EmailMessage("hi", "hello", "shop@example.org", [to])
    vars(made).update(attributes)
    return made


def test_nothing_set_means_no_governor(smtp_server: ScriptedServer, backend: Callable[..., Any]) -> None:
    """A project that asks for none has a client without one."""
    made = backend(smtp_server)
    assert governance_of(made.options) is None
    assert made.client().governor is None


def test_limits_are_shared_by_all_mailers_of_one_account(
    smtp_server: ScriptedServer, backend: Callable[..., Any]
) -> None:
    """Two mailers that differ in something else draw on one allowance."""
    first = backend(smtp_server, RATE_LIMIT="3/h", POOL_TIMEOUT=0.2)
    assert first.send_messages([message()]) == 1
    second = RobustSMTPEmailBackend(pool_size=2)
    assert second.client() is not first.client()
    assert second.send_messages([message(), message()]) == 2
    with pytest.raises(HeldBack, match=r"the limit of 3/h is used up") as caught:
        first.send_messages([message()])
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 3000
    assert len(smtp_server.accepted) == 3


def test_mail_held_back_is_an_error_of_the_connection(smtp_server: ScriptedServer, backend: Callable[..., Any]) -> None:
    """Code that catches OSError, or asks for silence, meets nothing new."""
    made = backend(smtp_server, RATE_LIMIT="1/h", POOL_TIMEOUT=0.1)
    made.send_messages([message()])
    with pytest.raises(SMTPConnectionError):
        made.send_messages([message()])
    made.fail_silently = True
    assert made.send_messages([message()]) == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RATE_LIMIT", "fast", "written like 14/s"),
        ("RATE_LIMIT", 14, "a rate like"),
        ("MAX_CONNECTIONS", 0, "at least 1"),
        ("GOVERNOR", "zookeeper://secret@host", "'memory', 'database'"),
        ("LANE", "fast", "'priority'"),
        ("RELAYS", "mail.example.org", "a list of dictionaries"),
        ("RELAYS", [{"hots": "x"}], "'hots'"),
        ("RELAYS", [{"weight": -1}], "weight"),
        ("RELAYS", [{}, {}], "same name"),
        ("RELAYS", [{"relays": []}], "'relays'"),
        ("RELAYS", [{"port": "x"}], "EMAIL_PORT"),
    ],
)
def test_what_cannot_work_is_refused(
    smtp_server: ScriptedServer, backend: Callable[..., Any], name: str, value: object, words: str
) -> None:
    """The error names the setting and says what it takes, and never repeats a URL with a password in it."""
    with pytest.raises(ImproperlyConfigured, match=words) as caught:
        backend(smtp_server, **{name: value}).client()
    assert "secret" not in str(caught.value)


def test_a_message_says_who_goes_first(smtp_server: ScriptedServer, backend: Callable[..., Any]) -> None:
    """By an attribute, a name or a Lane; else it is the mailer's lane."""
    made = backend(smtp_server, LANE="bulk")
    assert made._lane(message()) is Lane.BULK
    assert made._lane(message(smtp_lane="priority")) is Lane.PRIORITY
    assert made._lane(message(smtp_lane=Lane.PRIORITY)) is Lane.PRIORITY


def test_a_password_goes_to_no_other_host() -> None:
    """A relay with a host of its own inherits no account; how the channel is encrypted it does inherit."""
    options = MailerOptions(
        host="a.test",
        username="ann",
        password="geheim",
        use_tls=True,
        rate_limit=(Rate(1, 1.0),),
        relays=(
            {"name": "own"},
            {"host": "b.test"},
            {"host": "c.test", "username": "bob", "password": "x", "port": 25},
        ),
    )
    own, b, c = (found for _, _, found in relays_of(options))
    assert (own.host, own.username, own.password, own.use_tls) == ("a.test", "ann", "geheim", True)
    assert (b.host, b.username, b.password, b.use_tls) == ("b.test", None, None, True)
    assert (c.username, c.port, c.use_tls, c.rate_limit) == ("bob", 25, False, options.rate_limit)


def test_mail_goes_to_the_second_relay_while_the_first_is_out(backend: Callable[..., Any]) -> None:
    """The first is given up after its failures, signals tell of it and of its return, and then it is used again."""
    news: list[str] = []

    def given_up(**_: object) -> None:
        news.append("given up")

    def returned(**_: object) -> None:
        news.append("returned")

    signals.relay_given_up.connect(given_up)
    signals.relay_returned.connect(returned)
    out = Fault(At.GREETING, Reply("421 4.3.2 down"), times=2)
    with ScriptedServer(Script(faults=[out])) as first, ScriptedServer() as second:
        relays = [{}, {"name": "second", "host": second.host, "port": second.port}]
        made = backend(first, RELAYS=relays, BREAKER_FAILURES=2, BREAKER_COOLDOWN=0.2, ADAPTIVE_LIMITS=False)
        assert isinstance(made.client(), RelayGroup)
        assert [made.send_messages([message()]) for _ in range(6)] == [1] * 6
        assert (first.connections, len(second.accepted)) == (2, 6)
        governor = made.client().relays[0].client.governor
        assert isinstance(governor, SharedGovernor)
        assert governor.state().circuit == "open"
        while not first.accepted:
            made.send_messages([message()])
        registry.close()
    assert news == ["given up", "returned"]


def by_recipient(submission: Submission) -> str | None:
    """Route by the first recipient's domain."""
    return "second" if str(submission.envelope.forward_paths[0]).endswith("@b.test") else None


def by_sender(submission: Submission) -> str | None:
    """Route by who writes."""
    return "second" if str(submission.envelope.reverse_path) == "news@example.org" else None


def by_kind(submission: Submission) -> str | None:
    """Route by the word that the message carries."""
    return "second" if submission.kind == "newsletter" else None


@pytest.mark.parametrize(
    ("route", "elsewhere"),
    [
        (by_recipient, {"to": "bob@b.test"}),
        (by_sender, {"from_email": "news@example.org"}),
        (by_kind, {"smtp_kind": "newsletter"}),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["in one call", "one by one"])
def test_what_a_router_may_choose_by(
    backend: Callable[..., Any],
    route: Callable[[Submission], str | None],
    elsewhere: dict[str, Any],
    together: bool,  # noqa: FBT001 - a parameter
) -> None:
    """By recipient domain, sender or kind, whether a message is submitted alone or with others."""
    mails = [message(), message(**elsewhere), message(smtp_kind="receipt"), message(**elsewhere)]
    with ScriptedServer() as first, ScriptedServer() as second:
        relays = [{}, {"name": "second", "host": second.host, "port": second.port}]
        made = backend(first, RELAYS=relays, RELAY_ROUTER=route)
        for calls in [mails] if together else [[each] for each in mails]:
            made.send_messages(calls)
        registry.close()
        assert (len(first.accepted), len(second.accepted)) == (2, 2)
        assert [vars(each)["smtp_report"].endpoint for each in mails] == [
            f"{server.host}:{server.port}" for server in (first, second, first, second)
        ]
    assert [vars(each)["smtp_report"].kind for each in mails] == [vars(each).get("smtp_kind", "") for each in mails]


def test_a_router_chooses_by_the_recipient(backend: Callable[..., Any]) -> None:
    """It may name a relay, or leave it to the order."""
    with ScriptedServer() as first, ScriptedServer() as second:
        relays = [{}, {"name": "second", "host": second.host, "port": second.port}]
        made = backend(first, RELAYS=relays, RELAY_ROUTER=by_recipient)
        made.send_messages([message("ann@a.test"), message("bob@b.test"), message("cat@a.test")])
        made.send_messages([message("dan@b.test")])
        registry.close()
    assert [each.forward_paths for each in first.accepted] == [("ann@a.test",), ("cat@a.test",)]
    assert [each.forward_paths for each in second.accepted] == [("bob@b.test",), ("dan@b.test",)]


def test_the_store_is_the_one_that_was_named() -> None:
    """One for each place in a process; what cannot be used is a mistake in the settings, told without the URL."""
    assert isinstance(store_of("memory"), MemoryStore)
    assert isinstance(store_of("database:other"), DatabaseStore)
    assert isinstance(store_of("redis://127.0.0.1:1/0"), RedisStore)
    assert store_of("memory") is store_of("memory")
    with pytest.raises(ImproperlyConfigured, match="EMAIL_GOVERNOR cannot be used") as caught:
        store_of("redis://:geheim@host:port/")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("limits", [{"connections": 0}, {"processes": 0}, {"lease": 0.0}])
def test_limits_that_let_nothing_through_are_refused(limits: dict[str, Any]) -> None:
    """By the engine too, which knows no settings."""
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        RelayLimits(**limits)

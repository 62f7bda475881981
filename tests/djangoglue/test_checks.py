"""The system checks: each finding by its number, and silence for a sound configuration."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from django.core import checks
from django.test import override_settings

from robust_email import _compat
from robust_email.checks import check_mailers, check_project, check_sender
from tests.contract.ways import PATH, legacy_settings

SOUND: dict[str, Any] = {
    "EMAIL_HOST": "mail.example.org",
    "EMAIL_PORT": 587,
    "EMAIL_USE_TLS": True,
    "EMAIL_HOST_USER": "user",
    "EMAIL_HOST_PASSWORD": "hunter2",
    "EMAIL_TIMEOUT": 20,
}

SES = "email-smtp.eu-west-1.amazonaws.com"
BY_TOKEN = {"EMAIL_HOST_PASSWORD": None, "EMAIL_OAUTH_ACCESS_TOKEN": "hunter2"}
SIGNED = {"EMAIL_DKIM_DOMAIN": "example.org", "EMAIL_DKIM_SELECTOR": "mail", "EMAIL_DKIM_KEY_FILE": "/no/such/file"}


def found(**settings: Any) -> list[str]:  # noqa: ANN401 - any setting
    """Give the ids that these settings bring forth, on top of sound ones."""
    with legacy_settings(**SOUND | settings):
        messages = check_mailers()
    assert "hunter2" not in str(messages)
    return [str(message.id).removeprefix("robust_email.") for message in messages]


def test_a_sound_configuration_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found where nothing is wrong, and the network is not asked."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("a system check asked DNS"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a system check connected"))
    assert found() == []


@pytest.mark.parametrize(
    ("number", "settings"),
    [
        ("E001", {"EMAIL_USE_SSL": True}),
        ("E001", {"EMAIL_POOL_SIZE": 0}),
        ("E001", {"EMAIL_HOST": "mail example"}),
        ("E001", {"EMAIL_TIMEOUT": -1}),
        ("E002", {"EMAIL_USE_TLS": False, "EMAIL_PORT": 25}),
        ("E003", {"EMAIL_SSL_KEYFILE": "key.pem"}),
        ("W001", {"EMAIL_HOST_PASSWORD": ""}),
        ("W001", {"EMAIL_HOST_USER": ""}),
        ("W002", {"EMAIL_TIMEOUT": None}),
        ("W003", {"EMAIL_PORT": 465}),
        ("W003", {"EMAIL_USE_TLS": False, "EMAIL_USE_SSL": True}),
        ("W003", {"EMAIL_USE_TLS": False, "EMAIL_HOST_USER": "", "EMAIL_HOST_PASSWORD": ""}),
        ("W004", {"EMAIL_HOST": "smtp.office365.com", **BY_TOKEN}),
        ("W011", {"EMAIL_HOST": "email-smtp.eu-west-1.amazonaws.com"}),
        ("W012", {"EMAIL_HOST": "smtp.postmarkapp.com", "EMAIL_PORT": 2526}),
        ("W011", {"EMAIL_HOST": "smtp.sendgrid.net", "EMAIL_POOL_MAX_MESSAGES": 5001}),
        ("W012", {"EMAIL_PROVIDER": "ses:eu-west-1", "EMAIL_HOST": SES, "EMAIL_PORT": 588}),
        ("E004", SIGNED),
        ("E001", {**SIGNED, "EMAIL_DKIM_SELECTOR": ""}),
        ("E001", {"EMAIL_PROVIDER": "sess"}),
        ("E001", {"EMAIL_OAUTH": {"provider": "microsoft"}}),
        ("E001", {"EMAIL_PROXY": "proxy.example.org:hunter2"}),
        ("E001", {"EMAIL_CREDENTIALS": "env:"}),
        ("W014", {"EMAIL_HOST": "smtp.office365.com", "EMAIL_POOL_SIZE": 3}),
        ("W006", {"EMAIL_TIMEOUT": 120}),
        ("W006", {"CELERY_TASK_SOFT_TIME_LIMIT": 60}),
        ("W009", {"EMAIL_USE_TLS": False, "EMAIL_PORT": 25, "EMAIL_ALLOW_CLEAR_TEXT_AUTH": True}),
        ("W010", {"EMAIL_FINAL_REPLY_TIMEOUT": 5}),
        ("W015", {"EMAIL_RATE_LIMIT": "30/m"}),
        ("E005", {"EMAIL_GOVERNOR": "memory", "EMAIL_RELAYS": [{}, {}]}),
        ("E005", {"EMAIL_GOVERNOR": "redis://host:port/"}),
    ],
)
def test_each_finding_has_its_number(number: str, settings: dict[str, Any]) -> None:
    """A mistake brings forth its own finding and no other."""
    assert found(**settings) == [number]


def test_the_loopback_may_be_spoken_to_in_clear() -> None:
    """A password to this very machine is nobody else's business."""
    for host in ("localhost", "127.0.0.1", "::1"):
        assert found(EMAIL_HOST=host, EMAIL_PORT=25, EMAIL_USE_TLS=False) == []


def test_another_backend_is_none_of_our_business() -> None:
    """Where mail goes through another backend, or its path is wrong, our checks say nothing."""
    assert found(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend", EMAIL_POOL_SIZE=0) == []
    assert found(EMAIL_BACKEND="no.such.Backend") == []


@pytest.mark.skipif(not _compat.HAS_MAILERS, reason="MAILERS came with Django 6.1")
def test_every_mailer_is_examined_under_its_alias() -> None:
    """With MAILERS each alias of ours is examined, and findings name it and its option."""
    mailers = {
        "default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"},
        "shop": {"BACKEND": PATH, "OPTIONS": {"host": "smtp.office365.com", "use_tls": True}},
        "broken": {"BACKEND": PATH},
    }
    with override_settings(MAILERS=mailers):
        messages = check_mailers()
    assert [message.id for message in messages] == ["robust_email.W004", "robust_email.E001"]
    assert "MAILERS['shop'] OPTIONS 'pool_size'" in messages[0].msg
    assert "MAILERS['broken']" in messages[1].msg


def test_misspelt_settings_are_pointed_out() -> None:
    """W007 names the setting that was meant; Django's own and unrelated ones are left alone."""
    with override_settings(EMAIL_POOLSIZE=3, EMAIL_CONECTION_RETRY_DELAY=1, EMAIL_SOMETHING_ELSE=1, EMAIL_POOL_SIZE=3):
        messages = check_project()
    assert [(message.id, message.hint) for message in messages] == [
        ("robust_email.W007", "Did you mean EMAIL_CONNECTION_RETRY_DELAY?"),
        ("robust_email.W007", "Did you mean EMAIL_POOL_SIZE?"),
    ]


def test_the_default_sender_is_pointed_out_before_deployment() -> None:
    """W005 for webmaster@localhost, under `check --deploy` only."""
    assert [message.id for message in check_sender()] == ["robust_email.W005"]
    with override_settings(DEFAULT_FROM_EMAIL="shop@example.org"):
        assert check_sender() == []
    registered = checks.registry.registry
    always: list[object] = list(registered.get_checks())
    deployed: list[object] = list(registered.get_checks(include_deployment_checks=True))
    assert check_sender in deployed
    assert check_sender not in always
    assert check_mailers in always

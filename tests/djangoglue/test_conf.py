"""From options and settings to the engine's configuration."""

from __future__ import annotations

import dataclasses

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from robust_email import _compat, conf
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.smtp import SmtpConfig, TlsMode
from tests.contract.ways import by_hand


def access_token() -> str:
    """Give a token, as a project's function would."""
    return "ya29.from-a-function"


def test_every_option_is_documented_and_reaches_the_engine() -> None:
    """Each option has type, unit and meaning; changing it changes the configuration or the backend's own behaviour."""
    backends_own = {"bulk_window", "bulk_sessions", "partial_failure"}
    of_others = {
        "provider",
        "oauth_store",
        "dkim_domain",
        "dkim_selector",
        "dkim_key_file",
    }
    # They are in tests/djangoglue/test_account.py and tests/governor/test_settings.py.
    of_the_governor = {name for name in conf.OPTIONS if name.startswith(("breaker_", "governor", "relay", "adaptive"))}
    of_the_governor |= {"rate_limit", "max_connections", "lane"}
    base = conf.smtp_config(conf.MailerOptions(host="mail.example.org", username="user", password="secret"))
    other: dict[str, object] = {
        "host": "x.example.org",
        "username": "else",
        "password": "else",
        "use_tls": True,
        "use_ssl": True,
        "auth_mechanisms": ("PLAIN",),
        "oauth_access_token": "token",
        "credentials": "/run/secrets/smtp",
        "oauth": {"provider": "google", "client_id": "id", "refresh_token": "token"},
        "proxy": "socks5://proxy.example.org:1080",
        "pipelining": False,
        "chunking": False,
        "allow_clear_text_auth": True,
        "local_hostname": "web.example.org",
        "source_address": "192.0.2.1",
        "ssl_keyfile": "k",
        "ssl_certfile": "c",
        "ssl_cafile": "a",
    }
    for name, option in conf.OPTIONS.items():
        assert option.meaning.endswith((".", "set"))
        assert option.type
        assert option.setting.startswith("EMAIL_")
        if name in backends_own | of_others | of_the_governor:
            continue
        given = {"host": "mail.example.org", "username": "user", "password": "secret", name: other.get(name, 17)}
        assert conf.smtp_config(conf.read_options(given)) != base, name


def test_defaults_are_the_briefs() -> None:
    """The defaults that the documentation promises."""
    options = conf.MailerOptions()
    assert (options.timeout, options.connection_retry_attempts, options.connection_retry_delay) == (30, 3, 2)
    assert (options.pool_size, options.pool_timeout) == (10, 60)
    config = conf.smtp_config(options)
    assert config.timeouts.final_reply == 60
    assert config.timeouts.dns == 10
    assert config == SmtpConfig(host="localhost")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("EMAIL_POOL_SIZE", "many", "EMAIL_POOL_SIZE must be a whole number of at least 1, not 'many'"),
        ("EMAIL_POOL_SIZE", 0, "EMAIL_POOL_SIZE must be"),
        ("EMAIL_POOL_TIMEOUT", -1, "EMAIL_POOL_TIMEOUT must be a number of seconds above zero"),
        ("EMAIL_CONNECTION_RETRY_ATTEMPTS", 2.5, "EMAIL_CONNECTION_RETRY_ATTEMPTS must be"),
        ("EMAIL_PIPELINING", "maybe", "EMAIL_PIPELINING must be True or False"),
        ("EMAIL_PARTIAL_FAILURE", "ignore", "EMAIL_PARTIAL_FAILURE must be one of 'count', 'raise'"),
        ("EMAIL_AUTH_MECHANISMS", 5, "EMAIL_AUTH_MECHANISMS must be a list of names"),
    ],
)
def test_a_bad_setting_is_named_at_construction(setting: str, value: object, words: str) -> None:
    """A bad value is ImproperlyConfigured, naming setting and value, before any network, fail_silently or not."""
    with override_settings(**{setting: value}), pytest.raises(ImproperlyConfigured, match=words):
        by_hand(RobustSMTPEmailBackend, fail_silently=True)


@pytest.mark.skipif(not _compat.HAS_MAILERS, reason="MAILERS came with Django 6.1")
def test_a_bad_option_names_the_alias() -> None:
    """A bad value in OPTIONS is InvalidMailer, naming alias and option."""
    with pytest.raises(ImproperlyConfigured, match=r"MAILERS\['shop'\]: pool_size must be"):
        RobustSMTPEmailBackend(alias="shop", host="mail.example.org", pool_size="many")


def test_a_bad_secret_is_not_shown() -> None:
    """The error about a password that is no string does not hold it, and no repr does."""
    backend = by_hand(RobustSMTPEmailBackend, username="user", password=b"hunter2")
    with pytest.raises(ImproperlyConfigured, match="EMAIL_HOST_PASSWORD must be a string") as refused:
        _ = backend.config
    assert "hunter2" not in str(refused.value)
    options = conf.MailerOptions(username="user", password="hunter2", oauth_access_token="hunter2")
    assert "hunter2" not in repr(options) + repr(conf.smtp_config(options)) + repr(conf.OPTIONS)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (access_token, "ya29.from-a-function"),
        (f"{__name__}.access_token", "ya29.from-a-function"),
        ("ya29.a0AfH6SMB", "ya29.a0AfH6SMB"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"),
    ],
)
def test_an_access_token_is_given_or_fetched(token: object, expected: str) -> None:
    """EMAIL_OAUTH_ACCESS_TOKEN is a token, a function, or a function's dotted path; called for each session."""
    options = conf.read_options({"host": "mail.example.org", "username": "user", "oauth_access_token": token})
    credentials = conf.smtp_config(options).credentials
    assert credentials is not None
    if credentials.provider is not None:
        credentials = credentials.provider.credentials(1.0)
    assert (credentials.username, credentials.access_token) == ("user", expected)


def test_a_dotted_path_that_leads_nowhere_is_a_mistake_of_configuration() -> None:
    """A path into a package that exists, to nothing: ImproperlyConfigured."""
    options = conf.read_options({"username": "user", "oauth_access_token": "robust_email.no_such.function"})
    with pytest.raises(ImproperlyConfigured, match="no_such"):
        conf.smtp_config(options)


@pytest.mark.parametrize(("host", "words"), [("mail example", "host must be"), ("mail\r\nQUIT", "host must be")])
def test_what_the_engine_refuses_is_improperly_configured(host: str, words: str) -> None:
    """A value that only the engine knows to be impossible is reported as the project's mistake, too."""
    with pytest.raises(ImproperlyConfigured, match=words):
        conf.smtp_config(dataclasses.replace(conf.MailerOptions(), host=host))


def test_tls_modes() -> None:
    """use_tls is required STARTTLS, use_ssl TLS from the first octet."""
    for options, mode in (
        (conf.MailerOptions(), TlsMode.NONE),
        (conf.MailerOptions(use_tls=True), TlsMode.STARTTLS),
        (conf.MailerOptions(use_ssl=True), TlsMode.IMPLICIT),
    ):
        assert conf.smtp_config(options).tls.mode is mode


def test_attributes_set_by_a_subclass_count() -> None:
    """What counts is the attributes' value when mail is sent, strings included."""
    backend = by_hand(RobustSMTPEmailBackend)
    backend.host, backend.port, backend.use_tls, backend.timeout = "mail.example.org", "587", "yes", "12"
    backend.local_hostname = "web.example.org"
    config = backend.config
    assert (config.host, config.port, config.tls.mode) == ("mail.example.org", 587, TlsMode.STARTTLS)
    assert (config.timeouts.command, config.local_hostname) == (12, "web.example.org")

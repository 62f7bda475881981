"""The configuration from the environment: what is refused, and what is never shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest
from django.views.debug import get_exception_reporter_filter
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from authentication.verification.checks import check_accounts
from e_commerce_api.env import Environment, kept_random_key

if TYPE_CHECKING:
    from pytest_django import Settings

ROOT = Path(__file__).parents[2]


class FromVariables(Environment):
    """Without the developer's .env."""

    model_config = SettingsConfigDict(env_file=None)


class FromExample(Environment):
    """As a newcomer has it."""

    model_config = SettingsConfigDict(env_file=ROOT / ".env.example")


def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Environment:
    for name in Environment.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return FromVariables()


def test_each_variable_of_the_brief_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of the brief's checklist, as strings, as they stand in a .env file."""
    env = environment(
        monkeypatch,
        EMAIL_HOST="mail.example.com",
        EMAIL_PORT="587",
        EMAIL_USE_TLS="True",
        EMAIL_USE_SSL="False",
        EMAIL_HOST_USER="shop",
        EMAIL_HOST_PASSWORD="secret",
        DEFAULT_FROM_EMAIL="Shop <shop@example.com>",
    )
    assert (env.email_host, env.email_port, env.email_use_tls, env.email_use_ssl) == (
        "mail.example.com",
        587,
        True,
        False,
    )
    assert env.email_host_password.get_secret_value() == "secret"


def test_the_defaults_are_the_briefs(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 s, 3 attempts, 2 s between, 10 sessions, 60 s for one of them."""
    env = environment(monkeypatch)
    assert (env.email_timeout, env.email_connection_retry_attempts, env.email_connection_retry_delay) == (30, 3, 2)
    assert (env.email_pool_size, env.email_pool_timeout) == (10, 60)


@pytest.mark.parametrize(
    "variables",
    [
        {"EMAIL_PORT": "70000"},
        {"EMAIL_USE_TLS": "CANARY"},
        {"EMAIL_TIMEOUT": "0"},
        {"EMAIL_CONNECTION_RETRY_ATTEMPTS": "0"},
        {"EMAIL_TASK_RETRY_SCALE": "-1"},
        {"POSTGRES_HOST": "database", "POSTGRES_PASSWORD": "CANARY"},
        {"REDIS_HOST": "broker", "REDIS_PASSWORD": "CANARY"},
    ],
)
def test_a_mistake_is_named_and_no_value_repeated(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """What cannot work is refused at start, and the error repeats nothing that may be a secret."""
    with pytest.raises(ValidationError) as raised:
        environment(monkeypatch, **variables)
    assert "CANARY" not in str(raised.value)


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration's repr has no password."""
    names = ("EMAIL_HOST_PASSWORD", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY")
    assert "CANARY" not in repr(environment(monkeypatch, **dict.fromkeys(names, "CANARY")))


def test_error_pages_hide_the_brokers_url() -> None:
    """CELERY_BROKER_URL carries a password, and Django's own filter would show it."""
    shown = get_exception_reporter_filter(None).get_safe_settings()
    assert set(shown["CELERY_BROKER_URL"]) == {"*"}
    if django.VERSION < (6, 1):
        assert set(shown["EMAIL_HOST_PASSWORD"]) == {"*"}
    else:
        assert "password" not in str(shown["MAILERS"]).lower() or "*****" in str(shown["MAILERS"])
    assert "CANARY" not in str(shown)


def test_a_password_with_any_letter_fits_into_the_brokers_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reserved characters are escaped."""
    env = environment(monkeypatch, REDIS_HOST="broker", REDIS_PASSWORD="p@ss:/word#", SECRET_KEY="x")
    assert env.broker_url == "redis://:p%40ss%3A%2Fword%23@broker:6379/0"


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    """A random key is made once, whoever comes first, and nobody reads half of one."""
    barrier, found = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        found.append(kept_random_key(tmp_path / "data" / "secret_key"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found[0]) == 64
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret_key"]
    assert (tmp_path / "data" / "secret_key").stat().st_mode & 0o077 == 0


def test_env_example_has_every_variable_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example names each variable, explains it, and says the true default."""
    text = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=", text, re.MULTILINE)) == {name.upper() for name in Environment.model_fields}
    for name in Environment.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    assert FromExample().model_dump() == FromVariables().model_dump()


PRODUCTION = {
    "PUBLIC_URL": "https://shop.example",
    "ALLOWED_HOSTS": "shop.example",
    "SECRET_KEY": "CANARY-" + "k9" * 30,
    "REDIS_HOST": "127.0.0.1",
    "TRUSTED_PROXY_COUNT": "1",
}


def check_deploy(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the check of a production's settings, where a warning is a failure."""
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**os.environ, "ENV_FILE": str(tmp_path / "no.env"), "DATA_FOLDER": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_deploy_is_clean_in_production(tmp_path: Path) -> None:
    """With an HTTPS address, Redis and a key: no warning, and nothing secret in the output."""
    done = check_deploy(tmp_path, **PRODUCTION)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CANARY" not in done.stdout + done.stderr


def test_check_deploy_finds_a_shop_without_https(tmp_path: Path) -> None:
    """The same over http:// fails."""
    done = check_deploy(tmp_path, **{**PRODUCTION, "PUBLIC_URL": "http://shop.example"})
    assert done.returncode != 0
    assert "security.W012" in done.stderr


@pytest.mark.parametrize(
    ("setting", "value", "number"),
    [
        ("SESSION_ENGINE", "django.contrib.sessions.backends.signed_cookies", "E002"),
        ("ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS", True, "E003"),
        ("CACHES", {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}, "E004"),
        ("ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT", 3600, "E006"),
        ("ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED", False, "E006"),
        ("HEADLESS_FRONTEND_URLS", {"account_signup": "/relative"}, "E001"),
    ],
)
def test_v05_v23_a_setting_with_a_hole_is_refused_at_start(
    settings: Settings, setting: str, value: object, number: str
) -> None:
    """Each hole that was measured has a check."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache"}}
    assert check_accounts() == []
    setattr(settings, setting, value)
    assert {found.id for found in check_accounts()} == {f"accounts.{number}"}


def test_a_request_that_is_not_one_transaction_is_refused_at_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V28 depends on it."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache"}}
    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", False)
    assert {found.id for found in check_accounts()} == {"accounts.E005"}


@pytest.mark.parametrize("value", ["shop.example", "ftp://shop.example", "https://shop.example/path", "https://"])
def test_v19_the_public_address_is_a_scheme_and_a_host(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Links in mails begin with it, so nothing else is taken."""
    with pytest.raises(ValidationError):
        environment(monkeypatch, PUBLIC_URL=value)

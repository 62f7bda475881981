"""Log-in, signature, proxy and provider as a project sets them, down to what servers see."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage

from robust_email import _compat, conf
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.checks import check_mailers
from robust_email.credentials.oauth import OAuthCredentials
from robust_email.credentials.sources import EnvironmentCredentials, FileCredentials, FunctionCredentials
from robust_email.providers import PROVIDERS, Provider, find_provider, provider_of_host
from robust_email.registry import registry
from robust_email.smtp import AuthenticationRefused, Proxy, TlsMode
from robust_email.testing import Script, ScriptedServer
from tests.contract.ways import Ways, by_hand, legacy_settings
from tests.net.proxies import ProxyServer
from tests.submission.test_signing import PEM, verified

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OAUTH = {"provider": "generic", "client_id": "id", "client_secret": "hunter2", "token_url": "https://example.org/t"}


def password() -> str:
    """Give a password, as a project's function would."""
    return "hunter2"


def built(**settings: object) -> RobustSMTPEmailBackend:
    """Build the project's backend from these settings."""
    with legacy_settings(**settings):
        backend = _compat.default_mailer()
        assert isinstance(backend, RobustSMTPEmailBackend)
        _ = backend.config
        return backend


def message() -> EmailMessage:
    """Make a mail with something beyond ASCII in it."""
    return EmailMessage("Grüße", "Hallö\n.\n", "Shop <shop@example.org>", ["ann@example.org"])


@pytest.mark.parametrize(
    ("value", "provider"),
    [
        ("/run/secrets/smtp", FileCredentials("/run/secrets/smtp", "shop")),
        ("file:/run/secrets/smtp", FileCredentials("/run/secrets/smtp", "shop")),
        ("env:SMTP_PASSWORD", EnvironmentCredentials("SMTP_PASSWORD", "", "shop")),
        ("env:SMTP_USER, SMTP_PASSWORD", EnvironmentCredentials("SMTP_PASSWORD", "SMTP_USER", "shop")),
        (password, FunctionCredentials(password, "shop")),
        (f"{__name__}.password", FunctionCredentials(password, "shop")),
    ],
)
def test_each_kind_of_source(value: object, provider: object) -> None:
    """EMAIL_CREDENTIALS names a file, the environment or a function; two equal settings share one pool."""
    settings = {"EMAIL_CREDENTIALS": value, "EMAIL_HOST_USER": "shop", "EMAIL_HOST_PASSWORD": "ignored"}
    config = built(**settings).config
    assert config.credentials is not None
    assert config.credentials.provider == provider
    assert config.credentials.password == ""
    assert hash(config) == hash(built(**settings).config)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"EMAIL_CREDENTIALS": "env:"}, "EMAIL_CREDENTIALS must be env: and the name"),
        ({"EMAIL_CREDENTIALS": "no.such.function"}, "no"),
        ({"EMAIL_OAUTH": OAUTH, "EMAIL_HOST_USER": ""}, "EMAIL_OAUTH needs EMAIL_HOST_USER"),
        ({"EMAIL_OAUTH": "hunter2"}, "EMAIL_OAUTH must be a dictionary, not str"),
        ({"EMAIL_OAUTH": OAUTH | {"provider": "other"}}, r"EMAIL_OAUTH\['provider'\] must be one of microsoft"),
        ({"EMAIL_OAUTH": OAUTH | {"tenant": "hunter2"}}, r"EMAIL_OAUTH\['tenant'\] is nothing that .* 'generic' knows"),
        ({"EMAIL_OAUTH": OAUTH | {"scope": 5}}, r"EMAIL_OAUTH\['scope'\] must be a string, not int"),
        ({"EMAIL_OAUTH": OAUTH | {"token_url": "http://example.org/t"}}, "must be an https URL"),
        ({"EMAIL_OAUTH": {"provider": "google", "client_id": "id"}}, r"EMAIL_OAUTH\['client_secret'\] is missing"),
        ({"EMAIL_OAUTH": {"provider": "microsoft", "client_id": "id"}}, r"EMAIL_OAUTH\['tenant'\] is missing"),
        ({"EMAIL_OAUTH_STORE": "redis"}, "EMAIL_OAUTH_STORE must be 'memory'"),
        ({"EMAIL_PROXY": "proxy.example.org:hunter2"}, "EMAIL_PROXY must be socks5://"),
        ({"EMAIL_DKIM_DOMAIN": "example.org"}, "DKIM needs EMAIL_DKIM_SELECTOR and EMAIL_DKIM_KEY_FILE too"),
        ({"EMAIL_PROVIDER": "sess"}, "EMAIL_PROVIDER must be one of ses, .*; did you mean 'ses'?"),
        ({"EMAIL_PROVIDER": "postmark:eu"}, "EMAIL_PROVIDER must be 'postmark': there are no regions of it"),
        ({"EMAIL_PROVIDER": "mailgun:mars"}, "one of its regions"),
    ],
)
def test_what_cannot_work_is_named(settings: dict[str, object], words: str) -> None:
    """A mistake is ImproperlyConfigured before any mail; it names the setting and shows no secret."""
    with pytest.raises(ImproperlyConfigured, match=words) as refused:
        built(**{"EMAIL_HOST_USER": "shop"} | settings)
    assert "hunter2" not in str(refused.value)


def test_oauth_comes_first_and_shows_no_secret() -> None:
    """EMAIL_OAUTH wins over a password, and no repr has its secrets."""
    backend = built(EMAIL_OAUTH=OAUTH, EMAIL_HOST_USER="shop", EMAIL_HOST_PASSWORD="hunter2", EMAIL_OAUTH_STORE="cache")
    credentials = backend.config.credentials
    assert credentials is not None
    assert isinstance(credentials.provider, OAuthCredentials)
    provider = credentials.provider
    assert "hunter2" not in repr(backend.config) + repr(backend.options) + repr(provider.grant) + repr(provider.store)
    assert "hunter2" not in provider.grant.key


def test_a_rotated_password_is_used_without_a_restart(tmp_path: Path) -> None:
    """The next mail after the file was replaced logs in anew, and the earlier session is not used any more."""
    secret = tmp_path / "password"
    secret.write_text("first\n")
    script = Script(accounts={"shop": "first"}, require_auth=True)
    with ScriptedServer(script) as server:
        options = {"host": server.host, "port": server.port, "username": "shop", "credentials": str(secret)}
        backend = by_hand(RobustSMTPEmailBackend, **options)
        assert backend.send_messages([message()]) == 1
        (tmp_path / "new").write_text("second\n")
        (tmp_path / "new").replace(secret)
        with pytest.raises(AuthenticationRefused):
            backend.send_messages([message()])
        assert server.connections == 2
        secret.write_text("first\n")
        assert by_hand(RobustSMTPEmailBackend, **options).send_messages([message()]) == 1
    registry.close()


def test_mail_is_signed(tmp_path: Path) -> None:
    """EMAIL_DKIM_* sign what Django composed, 8-bit or not, and a verifier agrees."""
    key = tmp_path / "key.pem"
    key.write_bytes(PEM)
    with ScriptedServer() as server:
        backend = by_hand(
            RobustSMTPEmailBackend,
            host=server.host,
            port=server.port,
            dkim_domain="example.org",
            dkim_selector="mail",
            dkim_key_file=key,
        )
        assert backend.send_messages([message(), message()]) == 2
        assert all(verified(taken.data) for taken in server.accepted)
        assert len(server.accepted) == 2
    registry.close()


@pytest.mark.parametrize("as_list", [True, False])
def test_two_keys_are_two_signatures(tmp_path: Path, as_list: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Several selectors and files, in one string or a list, sign each mail once each."""
    files = [tmp_path / "one.pem", tmp_path / "two.pem"]
    for file in files:
        file.write_bytes(PEM)
    with ScriptedServer() as server:
        backend = by_hand(
            RobustSMTPEmailBackend,
            host=server.host,
            port=server.port,
            dkim_domain="example.org",
            dkim_selector=["mail", "other"] if as_list else "mail, other",
            dkim_key_file=files if as_list else f"{files[0]},{files[1]}",
        )
        assert backend.send_messages([message()]) == 1
        [taken] = server.accepted
        assert taken.data.count(b"DKIM-Signature:") == 2
        assert all(f"s={selector}".encode() in taken.data for selector in ("mail", "other"))
        assert verified(taken.data)
    registry.close()


@pytest.mark.parametrize(
    ("selectors", "files", "words"),
    [
        ("a, b", "good", "a file in EMAIL_DKIM_KEY_FILE for each name in EMAIL_DKIM_SELECTOR"),
        ("a", "good, good", "a file in EMAIL_DKIM_KEY_FILE for each name"),
        ("a, a", "good, good", "for each name in EMAIL_DKIM_SELECTOR"),
        ("a", "bad", "bad holds no RSA or Ed25519 key"),
        ("a, b", "good, short", "short holds no RSA or Ed25519 key"),
        ("a", "other", "other holds no RSA or Ed25519 key"),
    ],
)
def test_a_key_that_cannot_sign_is_named_before_any_mail(
    selectors: str, files: str, words: str, tmp_path: Path
) -> None:
    """ImproperlyConfigured when the backend is made, without a part of the key in it."""
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    contents = {"good": PEM, "bad": b"hunter2", "short": base64.b64encode(b"hunter2"), "other": other}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name.strip()) for name in files.split(",")]
    with pytest.raises(ImproperlyConfigured, match=words) as refused:
        built(EMAIL_DKIM_DOMAIN="example.org", EMAIL_DKIM_SELECTOR=selectors, EMAIL_DKIM_KEY_FILE=paths)
    assert "hunter2" not in str(refused.value)
    assert "MIG" not in str(refused.value)


def test_mail_goes_through_a_proxy() -> None:
    """EMAIL_PROXY is the way, for a host that this machine cannot look up."""
    with ScriptedServer() as server, ProxyServer({"mail.inner:25": (server.host, server.port)}) as proxy:
        backend = by_hand(RobustSMTPEmailBackend, host="mail.inner", port=25, proxy=f"socks5://127.0.0.1:{proxy.port}")
        assert backend.send_messages([message()]) == 1
        registry.close()
    assert backend.config.proxy == Proxy.parse(f"socks5://127.0.0.1:{proxy.port}")


@pytest.fixture(params=["settings", "keywords", *(["mailers"] if _compat.HAS_MAILERS else [])])
def ways(request: pytest.FixtureRequest) -> Iterator[Ways]:
    """Give each way to configure a backend."""
    with contextlib.ExitStack() as stack:
        yield Ways(request.param, stack)


def test_a_provider_fills_in_what_is_not_set(ways: Ways) -> None:
    """Host, port, TLS and the pool's limits come from the profile, whichever way the project is configured."""
    config = ways(provider="microsoft365").config
    assert (config.host, config.port, config.tls.mode) == ("smtp.office365.com", 587, TlsMode.STARTTLS)
    assert config.pool.size == 3
    config = ways(provider="SES:eu-central-1").config
    assert (config.host, config.pool.max_idle) == ("email-smtp.eu-central-1.amazonaws.com", 8)
    config = ways(provider="ovh").config
    assert (config.port, config.tls.mode) == (465, TlsMode.IMPLICIT)


def test_a_provider_s_limits_for_all_workers_need_a_governor(ways: Ways) -> None:
    """Connections and rates are shared where the project has a store for them, and left alone where it has none."""
    options = ways(provider="microsoft365", governor="memory").options
    assert (options.max_connections, list(map(str, options.rate_limit))) == (3, ["30/m", "10000/d"])
    options = ways(provider="microsoft365", governor="memory", rate_limit="20/m").options
    assert (options.max_connections, list(map(str, options.rate_limit))) == (3, ["20/m"])
    options = ways(provider="microsoft365").options
    assert (options.max_connections, options.rate_limit) == (None, ())
    assert ways(provider="ses:eu-west-1", governor="memory").options.rate_limit == (), "each account has its own"


def test_what_a_project_sets_wins_over_the_provider(ways: Ways) -> None:
    """The profile gives defaults, nothing more."""
    config = ways(provider="microsoft365", host="mail.example.org", port=25, pool_size=2).config
    assert (config.host, config.port, config.tls.mode, config.pool.size) == ("mail.example.org", 25, TlsMode.NONE, 2)
    config = ways(provider="ovh", use_tls=True, port=587).config
    assert (config.host, config.port, config.tls.mode) == ("ssl0.ovh.net", 587, TlsMode.STARTTLS)


def test_a_provider_without_its_region_is_a_mistake(ways: Ways) -> None:
    """SES has a host for each region: without one, and without a host, nothing can be said."""
    with pytest.raises(ImproperlyConfigured, match="needs a region, as in ses:eu-west-1"):
        ways(provider="ses")
    assert ways(provider="ses", host="email-smtp.eu-west-1.amazonaws.com").config.pool.max_idle == 8


def test_a_settings_profile_under_a_keyword() -> None:
    """Settings of our own count beside a provider given by keyword."""
    with legacy_settings(EMAIL_POOL_TIMEOUT=7, EMAIL_PROVIDER="ses:eu-west-1"):
        config = by_hand(RobustSMTPEmailBackend, provider="microsoft365").config
    assert (config.host, config.pool.size, config.pool.wait) == ("smtp.office365.com", 3, 7)


@pytest.mark.parametrize("profile", PROVIDERS, ids=lambda profile: profile.name)
def test_each_profile_is_sound(profile: Provider) -> None:
    """A profile's own host is recognised, its port is among its ports, its figures have sources, and checks agree."""
    host = profile.host_in(profile.region)
    assert host is not None
    assert (profile.port, profile.use_ssl) in profile.ports
    assert find_provider(profile.name) == (profile, "")
    assert profile.sources
    assert all(source.url.startswith("http") and source.read.year >= 2026 for source in profile.sources)
    stated = " ".join(source.says for source in profile.sources)
    figures = {"idle": profile.idle, "connections": profile.connections, "size": profile.size, "rates": profile.rates}
    assert [name for name, value in figures.items() if value and name not in stated] == []
    if profile.hosts:
        assert provider_of_host(host.upper() + ".") is profile
    region = f":{profile.region}" if profile.region else ""
    with legacy_settings(EMAIL_PROVIDER=profile.name + region):
        assert check_mailers() == []


def test_a_stranger_is_nobodys() -> None:
    """A host that only looks like a provider's is not taken for it."""
    assert provider_of_host("smtp.gmail.com.example.org") is None
    assert provider_of_host("email-smtp.amazonaws.com") is None


def test_a_signature_that_the_provider_breaks_is_pointed_out(tmp_path: Path) -> None:
    """W013: SES replaces header fields that DKIM covers."""
    key = tmp_path / "key.pem"
    key.write_bytes(PEM)
    settings = {"EMAIL_DKIM_DOMAIN": "example.org", "EMAIL_DKIM_SELECTOR": "mail", "EMAIL_DKIM_KEY_FILE": str(key)}
    with legacy_settings(EMAIL_PROVIDER="ses:eu-west-1", **settings):
        assert [found.id for found in check_mailers()] == ["robust_email.W013"]
    with legacy_settings(EMAIL_PROVIDER="postfix", **settings):
        assert check_mailers() == []


def test_options_by_default_name_nobody() -> None:
    """Without these settings there is no log-in, no signature, no proxy."""
    config = conf.smtp_config(conf.MailerOptions())
    assert (config.credentials, config.signer, config.proxy) == (None, None, None)

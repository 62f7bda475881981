"""12 to 16 and 22 to 25 of the contract (docs: drop-in): how a backend is built, configured and derived from."""

from __future__ import annotations

import inspect
import smtplib
import ssl
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends import smtp
from django.test import override_settings
from django.utils.functional import cached_property

from robust_email import _compat
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.testing import At, Fault, Script, ScriptedServer, Stall
from tests.contract.ways import PATH, Ways, by_hand, legacy_settings, letter, where

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority
    from robust_email.testing.pytest_plugin import ServerFactory

MAILERS_ONLY = pytest.mark.skipif(not _compat.HAS_MAILERS, reason="MAILERS came with Django 6.1")


def test_12_both_kinds_of_tls_are_refused_at_construction() -> None:
    """use_ssl with use_tls is a ValueError naming both settings; for a mailer, InvalidMailer naming the alias."""
    text = "EMAIL_USE_TLS/EMAIL_USE_SSL are mutually exclusive"
    with pytest.raises(ValueError, match=text):
        by_hand(RobustSMTPEmailBackend, use_ssl=True, use_tls=True)
    with pytest.raises(ValueError, match=text):
        by_hand(RobustSMTPEmailBackend, use_ssl="true", use_tls="1")
    with legacy_settings(EMAIL_USE_SSL=True, EMAIL_USE_TLS=True), pytest.raises(ValueError, match=text):
        _compat.default_mailer()
    if _compat.HAS_MAILERS:
        options = {"host": "mail.example.org", "use_ssl": True, "use_tls": True}
        with (
            override_settings(MAILERS={"shop": {"BACKEND": PATH, "OPTIONS": options}}),
            pytest.raises(ImproperlyConfigured, match=r"MAILERS\['shop'\].*'use_ssl' and 'use_tls'"),
        ):
            mail.mailers["shop"]


def test_13_an_argument_follows_its_setting_unless_given() -> None:
    """Arguments left None follow EMAIL_*; one given wins, False and the empty string included."""
    with legacy_settings(
        EMAIL_HOST="mail.example.com",
        EMAIL_PORT=822,
        EMAIL_HOST_USER="user",
        EMAIL_HOST_PASSWORD="secret",
        EMAIL_USE_TLS=True,
        EMAIL_TIMEOUT=10,
        EMAIL_SSL_CERTFILE="cert.pem",
        EMAIL_SSL_KEYFILE="key.pem",
        EMAIL_POOL_SIZE=3,
    ):
        plain = by_hand(RobustSMTPEmailBackend)
        assert (plain.host, plain.port, plain.username, plain.password) == ("mail.example.com", 822, "user", "secret")
        assert (plain.use_tls, plain.use_ssl, plain.timeout) == (True, False, 10)
        assert (plain.ssl_certfile, plain.ssl_keyfile) == ("cert.pem", "key.pem")
        assert plain.config.pool.size == 3
        given = by_hand(
            RobustSMTPEmailBackend,
            host="other.example.net",
            port=5322,
            username="",
            password="",
            use_tls=False,
            timeout=15,
            ssl_certfile="",
            pool_size=4,
        )
        assert (given.host, given.port, given.username, given.password) == ("other.example.net", 5322, "", "")
        assert (given.use_tls, given.timeout, given.ssl_certfile) == (False, 15, "")
        assert given.config.pool.size == 4
        assert given.config.credentials is None


def test_13_the_order_of_arguments_is_djangos() -> None:
    """Positional arguments mean what they mean to Django's backend."""
    ours = list(inspect.signature(RobustSMTPEmailBackend.__init__).parameters)
    assert ours[:11] == list(inspect.signature(smtp.EmailBackend.__init__).parameters)[:11]


@pytest.mark.parametrize(("username", "password"), [("", "secret"), ("user", ""), ("", "")])
def test_14_half_a_login_is_none(build: Ways, username: str, password: str) -> None:
    """An empty user name or password means no AUTH."""
    with ScriptedServer(Script(accounts={"user": "secret"})) as server:
        assert build(**where(server), username=username, password=password).send_messages([letter()]) == 1
        assert server.commands["AUTH"] == 0


def test_14_a_whole_login_is_sent_as_it_is(build: Ways) -> None:
    """Given both, they are sent unchanged, spaces and non-ASCII included."""
    with ScriptedServer(Script(accounts={" us er ": "pä ss "})) as server:
        assert build(**where(server), username=" us er ", password="pä ss ").send_messages([letter()]) == 1
        assert server.accepted[0].user == " us er "


def test_15_timeout_is_none_unless_asked_for() -> None:
    """The attribute is None by default, as in Django, while the engine takes thirty seconds."""
    backend = by_hand(RobustSMTPEmailBackend)
    assert backend.timeout is None
    assert backend.config.timeouts.opening == 30
    assert by_hand(RobustSMTPEmailBackend, timeout=None).timeout is None


def test_15_timeout_bounds_connecting_and_reading(build: Ways, smtp_faults: ServerFactory) -> None:
    """A server that says nothing costs the time-out and no more, at the greeting and later."""
    for at, error in [(At.GREETING, TimeoutError), (At.MAIL, smtplib.SMTPServerDisconnected)]:
        server = smtp_faults(Fault(at, Stall()))
        with pytest.raises(error):
            build(**where(server), timeout=0.2, connection_retry_attempts=1, pipelining=False).send_messages([letter()])


def test_16_certificate_files_are_opened_at_connection(build: Ways, smtp_certs: CertificateAuthority) -> None:
    """ssl_certfile and ssl_keyfile default to None, are not opened at construction, and are an error when missing."""
    with ScriptedServer(Script(starttls=smtp_certs.server_context())) as server:
        plain = build(**where(server))
        assert (plain.ssl_certfile, plain.ssl_keyfile) == (None, None)
        backend = build(**where(server), use_tls=True, ssl_certfile="/no/such.pem", ssl_keyfile="/no/such.key")
        with pytest.raises(OSError, match=r"such\.pem"):
            backend.open()
        trusting = build(**where(server), use_tls=True, ssl_cafile=str(smtp_certs.ca_file))
        assert trusting.send_messages([letter()]) == 1


def test_16_a_subclass_may_change_the_ssl_context(smtp_certs: CertificateAuthority) -> None:
    """A subclass's ssl_context is used, for STARTTLS and for implicit TLS, and made once for all its instances."""
    made = []

    class Trusting(RobustSMTPEmailBackend):
        @property  # type: ignore[misc]  # Django documents it so, without a setter
        def ssl_context(self) -> ssl.SSLContext:
            context = super().ssl_context
            context.load_verify_locations(smtp_certs.ca_file)
            made.append(context)
            return context

    for script in (Script(starttls=smtp_certs.server_context()), Script(implicit_tls=smtp_certs.server_context())):
        with ScriptedServer(script) as server:
            options = {**where(server), "use_tls": bool(script.starttls), "use_ssl": bool(script.implicit_tls)}
            for _ in range(3):
                assert by_hand(Trusting, **options).send_messages([letter()]) == 1
            assert server.connections == 1
            with pytest.raises(ssl.SSLError):
                by_hand(RobustSMTPEmailBackend, **options, connection_retry_attempts=1).send_messages([letter()])
    assert len(made) == 2


def test_16_contexts_of_two_tenants_are_not_mixed_up(smtp_certs: CertificateAuthority) -> None:
    """Instances whose ssl_context depends on something of their own share sessions only where that is equal."""

    class Tenant(RobustSMTPEmailBackend):
        def __init__(self, authorities: Any, **options: Any) -> None:  # noqa: ANN401 - any option
            super().__init__(**options)
            self.authorities = authorities

        @cached_property
        def ssl_context(self) -> ssl.SSLContext:
            context = ssl.create_default_context()
            for each in self.authorities:
                context.load_verify_locations(each)
            return context

    with ScriptedServer(Script(starttls=smtp_certs.server_context())) as server:
        options = {**where(server), "use_tls": True, "connection_retry_attempts": 1}
        for _ in range(3):
            assert by_hand(Tenant, authorities=(smtp_certs.ca_file,), **options).send_messages([letter()]) == 1
        assert server.connections == 1
        with pytest.raises(ssl.SSLError):
            by_hand(Tenant, authorities=(), **options).send_messages([letter()])
        unhashable = by_hand(Tenant, authorities=[smtp_certs.ca_file], **options)
        assert [unhashable.send_messages([letter()]) for _ in range(2)] == [1, 1]
        assert server.connections == 3


class WithDefaults(RobustSMTPEmailBackend):
    """A subclass as Django's own tests have it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Django's documentation shows it
        kwargs.setdefault("timeout", 4.2)
        super().__init__(*args, **kwargs)


def test_22_a_subclass_may_pass_its_defaults_up(smtp_server: ScriptedServer) -> None:
    """A subclass sets defaults in __init__(*args, **kwargs); its path builds it by get_connection()."""
    backend = by_hand(WithDefaults, **where(smtp_server))
    backend.open()
    assert backend.timeout == 4.2
    assert backend.connection.timeout == 4.2
    backend.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        built = mail.get_connection(f"{__name__}.WithDefaults", **where(smtp_server))
    assert type(built).__name__ == "WithDefaults"
    assert built.send_messages([letter()]) == 1


@MAILERS_ONLY
def test_23_a_mailer_reads_its_options_alone() -> None:
    """mailers[name] passes alias and OPTIONS; EMAIL_* are ignored; host is required; the port follows TLS."""
    cases: list[tuple[dict[str, Any], int]] = [({}, 25), ({"use_ssl": True}, 465), ({"use_tls": True}, 587)]
    for options, port in cases:
        mailers = {"shop": {"BACKEND": PATH, "OPTIONS": {"host": "mail.example.org", **options}}}
        with override_settings(MAILERS=mailers, EMAIL_POOL_SIZE=7):
            backend: Any = mail.mailers["shop"]
            assert (backend.alias, backend.host, backend.port) == ("shop", "mail.example.org", port)
            assert (backend.username, backend.password, backend.timeout) == (None, None, None)
            assert backend.config.port == port
            assert backend.config.pool.size == 10
    with (
        override_settings(MAILERS={"shop": {"BACKEND": PATH}}),
        pytest.raises(ImproperlyConfigured, match=r"MAILERS\['shop'\]: OPTIONS must define 'host'"),
    ):
        mail.mailers["shop"]


def test_23_without_an_alias_the_port_is_25() -> None:
    """Without an alias the port is Django's 25, TLS or not."""
    assert by_hand(RobustSMTPEmailBackend, use_tls=True).port == 25
    assert by_hand(RobustSMTPEmailBackend, use_tls=True).config.port == 25


@MAILERS_ONLY
def test_24_unknown_options_of_a_mailer_are_refused() -> None:
    """Unknown OPTIONS raise InvalidMailer naming alias and options, and the one that was meant if it is near."""
    for name, text in [
        ("oops_typo", r"MAILERS\['shop'\].*'oops_typo'"),
        ("pool_sice", r"MAILERS\['shop'\].*pool_size"),
    ]:
        mailers = {"shop": {"BACKEND": PATH, "OPTIONS": {"host": "mail.example.org", name: 1}}}
        with override_settings(MAILERS=mailers), pytest.raises(ImproperlyConfigured, match=text):
            mail.mailers["shop"]


def test_24_unknown_keywords_without_alias_are_let_pass(caplog: pytest.LogCaptureFixture) -> None:
    """Without an alias unknown keywords are ignored (6.1 warns); one that looks like a typo is logged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        unknown: dict[str, Any] = {"from": "x", "pool_sizes": 3}
        backend = RobustSMTPEmailBackend(**unknown)
    assert not hasattr(backend, "pool_sizes")
    assert "Did you mean 'pool_size'?" in caplog.text
    texts = [str(warning.message) for warning in caught]
    assert any("does not support 'from', 'pool_sizes'" in text for text in texts) is _compat.HAS_MAILERS


def test_25_only_construction_by_hand_warns() -> None:
    """6.1 warns whoever constructs a backend by hand, in Django's words, and nobody whom Django builds one for."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in (PATH, f"{__name__}.WithDefaults"):
            with legacy_settings(EMAIL_BACKEND=path):
                assert f"{type(_compat.default_mailer()).__module__}.{type(_compat.default_mailer()).__name__}" == path
    assert [str(warning.message) for warning in caught] == []
    for kind in (RobustSMTPEmailBackend, WithDefaults):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kind()
        expected = ["Directly creating EmailBackend instances is deprecated. Use mail.mailers instead."]
        assert [str(warning.message) for warning in caught] == (expected if django.VERSION >= (6, 1) else [])
        assert all(Path(warning.filename) == Path(__file__) for warning in caught)

"""The behaviours of Django's SMTP backend that a drop-in keeps, by their number in the contract (docs: drop-in)."""

from __future__ import annotations

import inspect
import smtplib
import socket
import ssl
import warnings
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import django
import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends import smtp
from django.test import override_settings
from django.utils.functional import cached_property, lazystr

from robust_email import _compat
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.smtp import errors
from robust_email.testing import At, Close, Extensions, Fault, Reply, Script, ScriptedServer, Stall
from tests.contract.ways import PATH, Ways, by_hand, legacy_settings

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority
    from robust_email.testing.pytest_plugin import ServerFactory

MAILERS_ONLY = pytest.mark.skipif(not _compat.HAS_MAILERS, reason="MAILERS came with Django 6.1")


def letter(to: str = "ann@example.org", **fields: Any) -> EmailMessage:  # noqa: ANN401 - its other arguments
    """Give a small message."""
    return EmailMessage("Subject", "Content\n", "shop@example.org", [to], **fields)


def where(server: ScriptedServer) -> dict[str, Any]:
    """Give the options that lead to a server."""
    return {"host": server.host, "port": server.port}


def dead_port() -> dict[str, Any]:
    """Give the options that lead where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return {"host": "127.0.0.1", "port": listener.getsockname()[1]}


def test_01_counts_messages_of_a_list_and_of_an_iterator(build: Ways, smtp_server: ScriptedServer) -> None:
    """send_messages() returns how many messages the server accepted, from a list or a one-shot iterator."""
    backend = build(**where(smtp_server))
    assert backend.send_messages([letter(), letter()]) == 2
    assert backend.send_messages(iter([letter(), letter(), letter()])) == 3
    assert backend.send_messages(letter() for _ in range(1)) == 1
    assert backend.send_messages(iter([])) == 0
    assert len(smtp_server.accepted) == 6


def test_02_nothing_to_send_opens_nothing(build: Ways) -> None:
    """send_messages([]) returns 0 and never calls open()."""
    backend = build(**dead_port())
    opened = mock.Mock()
    vars(backend)["open"] = opened
    assert backend.send_messages([]) == 0
    opened.assert_not_called()


def test_03_without_recipients_nothing_is_sent(build: Ways, smtp_server: ScriptedServer) -> None:
    """A message without recipients counts 0 and sends nothing, alone and among others."""
    backend = build(**where(smtp_server))
    nobody = EmailMessage("Subject", "Content", "shop@example.org", to=[])
    assert backend.send_messages([nobody]) == 0
    assert smtp_server.connections == 0
    assert backend.send_messages([letter(), nobody, letter()]) == 2
    assert len(smtp_server.accepted) == 2


def test_04_open_says_whether_it_opened(build: Ways, smtp_server: ScriptedServer) -> None:
    """open() returns True for a new connection, False when one is open, and None for a silenced error."""
    backend = build(**where(smtp_server))
    before = backend.connection
    assert before is None
    assert backend.open() is True
    assert backend.connection is not None
    assert backend.open() is False
    backend.close()
    assert backend.connection is None
    assert build(**dead_port(), fail_silently=True).open() is None


def test_04_an_assigned_connection_counts_as_open(build: Ways) -> None:
    """open() returns False when somebody has put a connection there."""
    backend = build(**dead_port())
    backend.connection = mock.Mock(spec=object())
    assert backend.open() is False
    backend.close()
    assert backend.connection is None


def test_05_an_open_backend_serves_every_send(build: Ways, smtp_server: ScriptedServer) -> None:
    """An opened connection serves every send_messages() until close(); here the pool keeps it after that too."""
    backend = build(**where(smtp_server))
    backend.open()
    for _ in range(3):
        assert backend.send_messages([letter()]) == 1
    assert backend.connection is not None
    backend.close()
    assert backend.send_messages([letter()]) == 1
    assert backend.connection is None
    assert smtp_server.connections == 1


def test_06_close_raises_nothing(build: Ways) -> None:
    """close() raises nothing when never opened, when called twice, and when the server is gone."""
    with ScriptedServer() as server:
        backend = build(**where(server))
        backend.close()
        backend.open()
        backend.connection.mail("shop@example.org")
    backend.close()
    backend.close()


def test_07_a_with_block_opens_and_closes_once(build: Ways) -> None:
    """`with backend as b` gives the backend; open() and close() are looked up on the instance and called once each."""
    backend = build(**dead_port())
    opened, closed = mock.Mock(), mock.Mock()
    vars(backend).update(open=opened, close=closed)
    with backend as entered:
        assert entered is backend
        opened.assert_called_once_with()
        closed.assert_not_called()
    closed.assert_called_once_with()


def test_08_errors_while_opening_are_os_errors(build: Ways, smtp_certs: CertificateAuthority) -> None:
    """A refused connection is a ConnectionError, a failed handshake an ssl.SSLError; connection stays None."""
    backend = build(**dead_port())
    with pytest.raises(ConnectionRefusedError):
        backend.open()
    assert backend.connection is None
    with ScriptedServer(Script(implicit_tls=smtp_certs.server_context())) as server:
        untrusting = build(**where(server), use_ssl=True)
        with pytest.raises(ssl.SSLError):
            untrusting.open()
        assert untrusting.connection is None
    with ScriptedServer() as in_clear:
        mistaken = build(**where(in_clear), use_ssl=True)
        with pytest.raises(ssl.SSLError), mistaken:
            pass
        assert mistaken.connection is None


def test_09_refusals_are_smtp_exceptions_with_their_text(build: Ways, smtp_faults: ServerFactory) -> None:
    """What the server refuses is an smtplib exception of the kind that belongs to it, with code and text."""
    server = smtp_faults(extensions=Extensions(auth=()))
    with pytest.raises(smtplib.SMTPException, match=r"SMTP AUTH extension not supported by server\."):
        build(**where(server), username="user", password="secret").open()

    server = smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no such user")))
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        build(**where(server)).send_messages([letter()])
    assert refused.value.recipients == {"ann@example.org": (550, b"5.1.1 no such user")}

    server = smtp_faults(Fault(At.MAIL, Reply("550 5.7.1 not you")))
    with pytest.raises(smtplib.SMTPSenderRefused) as sender:
        build(**where(server)).send_messages([letter()])
    assert (sender.value.smtp_code, sender.value.smtp_error) == (550, b"5.7.1 not you")
    assert sender.value.sender == "shop@example.org"

    server = smtp_faults(Fault(At.BEFORE_FINAL, Reply("554 5.6.0 not that")))
    with pytest.raises(smtplib.SMTPDataError) as data:
        build(**where(server)).send_messages([letter()])
    assert (data.value.smtp_code, data.value.smtp_error) == (554, b"5.6.0 not that")


def test_09_a_wrong_password_is_an_authentication_error(build: Ways) -> None:
    """Refused credentials raise SMTPAuthenticationError, once, with the server's words."""
    with ScriptedServer(Script(accounts={"user": "right"})) as server:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            build(**where(server), username="user", password="wrong").open()
        assert refused.value.smtp_code == 535
        assert "wrong" not in str(refused.value)
        assert server.commands["AUTH"] == 1


def test_10_fail_silently_keeps_back_just_those(build: Ways, smtp_faults: ServerFactory) -> None:
    """fail_silently, given or set later, silences OSError and SMTPException; a bad address still raises ValueError."""
    assert build(**dead_port(), fail_silently=True).send_messages([letter()]) == 0
    server = smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no such user")))
    backend = build(**where(server))
    assert backend.fail_silently is False
    backend.fail_silently = True
    message = letter()
    assert backend.send_messages([message]) == 0
    assert vars(message)["smtp_report"].refused == ("ann@example.org",)
    with pytest.raises(ValueError, match="Invalid address"):
        backend.send_messages([letter("not an address")])


def test_11_no_starttls_no_mail(build: Ways) -> None:
    """use_tls and a server without STARTTLS raises SMTPException; nothing goes on in clear."""
    with ScriptedServer(Script(accounts={"user": "secret"})) as server:
        backend = build(**where(server), use_tls=True, username="user", password="secret")
        with pytest.raises(smtplib.SMTPException, match=r"STARTTLS extension not supported by server\."):
            backend.send_messages([letter()])
        assert server.commands["AUTH"] == 0
        assert server.commands["MAIL"] == 0


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


def test_17_the_envelope_is_the_messages_own(build: Ways, smtp_server: ScriptedServer) -> None:
    """MAIL FROM and RCPT TO are from_email and to, cc, bcc, with IDNA, whatever the headers say."""
    message = EmailMessage(
        from_email="lists@discussão.example.org",
        to=["To Example <to@漢字.example.com>"],
        cc=["cc@example.com"],
        bcc=["monitor@discussão.example.org"],
        headers={"From": "Someone <else@example.org>", "To": "Undisclosed <list@example.org>"},
    )
    assert build(**where(smtp_server)).send_messages([message]) == 1
    [accepted] = smtp_server.accepted
    assert accepted.reverse_path == "lists@xn--discusso-xza.example.org"
    assert accepted.forward_paths == (
        "to@xn--p8s937b.example.com",
        "cc@example.com",
        "monitor@xn--discusso-xza.example.org",
    )
    assert b"else@example.org" in accepted.data
    assert b"monitor" not in accepted.data


def test_18_encoded_domains_stay_as_they_are(build: Ways, smtp_server: ScriptedServer) -> None:
    """Domains already encoded by IDNA 2008 are not re-encoded."""
    message = letter('"faß" <to@xn--10cl1a0b660p.example.com>')
    message.from_email = '"βόλος" <from@xn--fa-hia.example.com>'
    assert build(**where(smtp_server)).send_messages([message]) == 1
    [accepted] = smtp_server.accepted
    assert accepted.reverse_path == "from@xn--fa-hia.example.com"
    assert accepted.forward_paths == ("to@xn--10cl1a0b660p.example.com",)


@pytest.mark.parametrize(
    "address",
    [
        "to@other.com@example.com",
        "to@other.com <to@example.com>",
        "to@example.com, other@example.com",
        "@",
        "to@",
        "@example.com",
        '"evil@example.com\r\nto"@example.com',
        "to\nevil@example.com",
        "to@example.com> NOTIFY=NEVER",
    ],
)
def test_19_malformed_addresses_reach_nobody(build: Ways, smtp_server: ScriptedServer, address: str) -> None:
    """A malformed or multiple address, and CR or LF in one, is a ValueError; the wire stays silent."""
    with pytest.raises(ValueError, match="Invalid address"):
        build(**where(smtp_server)).send_messages([EmailMessage(bcc=[address])])
    assert smtp_server.connections == 0


def test_20_local_parts(build: Ways, smtp_server: ScriptedServer) -> None:
    """A non-ASCII local part raises; an address without a domain, and lazy strings, are fine."""
    backend = build(**where(smtp_server))
    with pytest.raises(ValueError, match="Invalid address"):
        backend.send_messages([letter("josé@example.org")])
    lazy = EmailMessage(lazystr("Subject"), lazystr("Body"), "django", [lazystr("ann@example.org")])  # type: ignore[list-item]  # Django takes lazy strings
    assert backend.send_messages([lazy]) == 1
    assert smtp_server.accepted[0].reverse_path == "django"


def test_21_what_arrives(build: Ways, smtp_server: ScriptedServer) -> None:
    """CRLF only on the wire, long lines encoded, non-ASCII headers RFC 2047, Cc and Date there, Bcc not."""
    message = EmailMultiAlternatives(
        "Chère maman",
        "Je t'aime\r\ntrès\rfort\n" + "x" * 2000 + "\n.\n..\n",
        "shop@example.org",
        ["ann@example.org"],
        cc=["carol@example.org"],
        bcc=["hidden@example.org"],
    )
    message.attach_alternative("<p>Ça va</p>", "text/html")
    assert build(**where(smtp_server)).send_messages([message]) == 1
    data = smtp_server.accepted[0].data
    without = data.replace(b"\r\n", b"")
    assert b"\r" not in without
    assert b"\n" not in without
    assert max(map(len, data.split(b"\r\n"))) <= 998
    received = message_from_bytes(data, policy=policy.default)
    assert received["Subject"] == "Chère maman"
    assert "=?utf-8?" in data.decode("ascii", "replace").lower()
    assert received["Cc"] == "carol@example.org"
    assert received["Date"]
    assert b"hidden" not in data
    body = received.get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines()[-2:] == [".", ".."]


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


def test_a_raised_error_belongs_to_our_tree_too(build: Ways, smtp_faults: ServerFactory) -> None:
    """Every raised error carries phase, endpoint and report beside what Django's callers read."""
    server = smtp_faults(Fault(At.FINAL, Close()))
    backend = build(**where(server))
    message = letter()
    with pytest.raises(errors.InDoubt) as in_doubt:
        backend.send_messages([message])
    assert in_doubt.value.report is vars(message)["smtp_report"]
    assert in_doubt.value.endpoint == f"{server.host}:{server.port}"
    assert len(server.accepted) == 1

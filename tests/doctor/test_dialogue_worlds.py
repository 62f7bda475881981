"""Broken servers, one fault each: the doctor names the cause, and a remedy that fits it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from robust_email.smtp import Credentials, TlsMode
from robust_email.smtp.credentials import CredentialsUnavailable
from robust_email.testing import (
    Action,
    At,
    Close,
    Drip,
    Extensions,
    Fault,
    Garbage,
    Inject,
    Limits,
    Reply,
    Script,
    ScriptedServer,
    Stall,
    TakeThenClose,
    TakeThenStall,
)
from tests.doctor.world import HASTY, PATIENT, Relay, addresses_of, codes, diagnose, surroundings

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority

USER, PASSWORD = "shop", "hunter2-canary"


@dataclass(frozen=True)
class World:
    """A server that is wrong in one way, what must be found first, and words that its remedy must have."""

    cause: str
    remedy: str
    at: At | None = None
    action: Action = field(default_factory=Close)
    script: dict[str, Any] = field(default_factory=dict)
    mode: TlsMode = TlsMode.NONE
    login: bool = False
    seconds: float = PATIENT
    to: str = ""
    skip: int = 0
    config: dict[str, Any] = field(default_factory=dict)


ACCOUNTS = {"accounts": {USER: PASSWORD}}
S = TlsMode.STARTTLS
WORLDS = {
    # greeting
    "busy at the greeting": World("busy-421", "EMAIL_POOL_SIZE", At.GREETING, Reply("421 4.7.0 Too many connections")),
    "no service at the greeting": World("greeting-refused", "block list", At.GREETING, Reply("554 5.7.1 No SMTP here")),
    "later at the greeting": World("greeting-try-later", "tried again", At.GREETING, Reply("451 4.3.0 try later")),
    "no greeting": World("greeting-silent", "firewall", At.GREETING, Stall(), seconds=HASTY),
    "closed at the greeting": World("greeting-closed", "fail2ban", At.GREETING, Close()),
    "dripping greeting": World(
        "reply-dripping", "tarpit", At.GREETING, Drip(text="220-x", endless=True), seconds=HASTY
    ),
    "slow greeting": World("reply-slow", "PTR", At.GREETING, Reply(delay=0.4), seconds=2.0),
    "a web server": World(
        "port-speaks-http", "web server", At.GREETING, Garbage(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n")
    ),
    "an SSH server": World("not-smtp", "EMAIL_PORT", At.GREETING, Garbage(b"SSH-2.0-OpenSSH_9.2\r\n")),
    "an IMAP server": World("not-smtp", "EMAIL_PORT", At.GREETING, Garbage(b"* OK IMAP4rev1 ready\r\n")),
    "TLS alert in clear": World(
        "port-speaks-tls",
        "EMAIL_USE_SSL",
        At.GREETING,
        Garbage(b"\x15\x03\x01\x00\x02\x02\x46"),
        seconds=HASTY,
    ),
    # EHLO
    "name refused": World("ehlo-refused", "EMAIL_LOCAL_HOSTNAME", At.EHLO, Reply("550 5.7.1 Bad HELO name")),
    "HELO only": World(
        "ehlo-unknown",
        "rewriting",
        At.EHLO,
        Reply(
            "502 5.5.1 unknown",
        ),
        config={},
    ),
    "stalls at EHLO": World("reply-silent", "EMAIL_TIMEOUT", At.EHLO, Stall(), seconds=HASTY),
    "hangs up at EHLO": World("connection-closed", "Its log says why", At.EHLO, Close()),
    "small mails only": World("size-small", "higher limit", script={"extensions": Extensions(size=50_000)}),
    # STARTTLS
    "no STARTTLS": World("starttls-missing", "EMAIL_USE_SSL", mode=S),
    "STARTTLS stripped": World(
        "starttls-stripped", "inspect esmtp", mode=S, script={"extensions": Extensions(extra=["XXXXXXXA"])}
    ),
    "STARTTLS refused": World(
        "starttls-refused", "operator", At.STARTTLS, Reply("454 4.7.0 TLS not available"), {"starttls": True}, S
    ),
    "injection behind STARTTLS": World("starttls-injected", "injects", At.STARTTLS, Inject(), {"starttls": True}, S),
    # AUTH
    "wrong password": World("auth-refused", "`$$`", script={"accounts": {USER: "another"}}, login=True),
    "app password wanted": World(
        "auth-needs-app-password",
        "app password",
        At.AUTH,
        Reply("534 5.7.9 Application-specific password required"),
        ACCOUNTS,
        login=True,
    ),
    "AUTH switched off": World(
        "auth-switched-off",
        "administrator",
        At.AUTH,
        Reply("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled"),
        ACCOUNTS,
        login=True,
    ),
    "AUTH unavailable": World("auth-try-later", "again", At.AUTH, Reply("454 4.7.0 try later"), ACCOUNTS, login=True),
    "no AUTH": World("auth-missing", "587", login=True),
    "AUTH under TLS only": World("auth-needs-tls", "EMAIL_USE_TLS", script={**ACCOUNTS, "starttls": True}, login=True),
    "no mechanism in common": World(
        "auth-no-common-mechanism",
        "EMAIL_OAUTH_ACCESS_TOKEN",
        script={**ACCOUNTS, "extensions": Extensions(auth=["XOAUTH2"])},
        login=True,
    ),
    # envelope
    "log-in required": World("login-required", "EMAIL_HOST_USER", script={**ACCOUNTS, "require_auth": True}),
    "TLS required": World("tls-required", "587", At.MAIL, Reply("530 5.7.0 Must issue a STARTTLS command first")),
    "sender refused": World("sender-refused", "DEFAULT_FROM_EMAIL", At.MAIL, Reply("553 5.7.1 not your address")),
    "sender refused at RCPT": World(
        "sender-refused", "DEFAULT_FROM_EMAIL", At.RCPT, Reply("554 5.7.1 Sender address rejected")
    ),
    "sender deferred": World("sender-deferred", "again", At.MAIL, Reply("451 4.1.8 domain not found")),
    "relay denied": World("relay-denied", "mynetworks", At.RCPT, Reply("554 5.7.1 Relay access denied")),
    "relay denied without enhanced code": World(
        "relay-denied", "mynetworks", At.RCPT, Reply("550 relay not permitted")
    ),
    "greylisted": World("greylisted", "let in", At.RCPT, Reply("451 4.7.1 Greylisted, come back later")),
    "unknown mailbox": World("recipient-unknown", "--to", At.RCPT, Reply("550 5.1.1 no such user")),
    "mailbox full": World("mailbox-full", "others are not affected", At.RCPT, Reply("452 4.2.2 over quota")),
    "recipient refused": World("recipient-refused", "words say why", At.RCPT, Reply("550 no")),
    "server full": World("server-full", "no room", At.MAIL, Reply("452 4.3.1 insufficient system storage")),
    "size refused": World("size-refused", "SIZE", At.MAIL, Reply("552 5.3.4 too big")),
    "busy in the envelope": World("busy-421", "EMAIL_POOL_SIZE", At.RCPT, Reply("421 4.7.0 slow down")),
    "stalls in the envelope": World("reply-silent", "firewall", At.RCPT, Stall(), seconds=HASTY),
    # a real mail
    "content refused": World(
        "mail-refused", "DKIM", At.BEFORE_FINAL, Reply("554 5.7.1 looks like spam"), to="ann@example.org"
    ),
    "content deferred": World(
        "mail-deferred", "tried again", At.BEFORE_FINAL, Reply("451 4.7.1 scanner busy"), to="ann@example.org"
    ),
    "no final reply": World(
        "mail-in-doubt", "EMAIL_FINAL_REPLY_TIMEOUT", At.FINAL, TakeThenStall(), seconds=HASTY, to="ann@example.org"
    ),
    "closed before the final reply": World(
        "mail-in-doubt", "may have it", At.FINAL, TakeThenClose(), to="ann@example.org"
    ),
    # capacity
    "one mail per session": World("reuse-refused", "EMAIL_POOL_MAX_MESSAGES", At.NOOP, Close()),
    "no second envelope": World(
        "reuse-refused", "EMAIL_POOL_MAX_MESSAGES", At.MAIL, Reply("452 4.5.3 one mail per session"), skip=1
    ),
}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_cause_is_named(world: World, smtp_certs: CertificateAuthority) -> None:
    """The first of the worst findings is the one thing that is wrong, and its remedy says what to do about it."""
    fields = dict(world.script)
    if fields.pop("starttls", False):
        fields["starttls"] = smtp_certs.server_context()
    faults = [Fault(world.at, world.action, skip=world.skip)] if world.at else []
    if world.cause == "ehlo-unknown":
        faults = [Fault(At.EHLO, world.action, times=1)]
    with ScriptedServer(Script(faults=faults, **fields)) as server:
        relay = Relay(server.port, mode=world.mode, seconds=world.seconds, cafile=str(smtp_certs.ca_file))
        if world.login:
            relay = dataclasses.replace(relay, user=USER, password=PASSWORD)
        report = diagnose(relay.config(**world.config), recipient=world.to)
    assert report.cause is not None
    assert report.cause.code == world.cause, codes(report)
    assert world.remedy in report.cause.remedy
    assert report.exit_code == report.cause.severity - 1
    assert not world.login or PASSWORD not in str(report.as_dict())


def test_a_sound_server_gives_no_warning(smtp_certs: CertificateAuthority) -> None:
    """With STARTTLS, log-in, a real mail and a sound domain, every probe is reached and nothing is wrong."""
    script = Script(starttls=smtp_certs.server_context(), accounts={USER: PASSWORD}, require_auth=True)
    with ScriptedServer(script) as server:
        relay = Relay(server.port, "localhost", S, str(smtp_certs.ca_file), USER, PASSWORD)
        report = diagnose(relay.config(), recipient="ann@example.org")
    assert codes(report) == []
    assert [part.probe for part in report.examined if part.skipped] == []
    assert [message.forward_paths for message in server.accepted] == [("ann@example.org",)]


def test_the_dry_run_submits_nothing() -> None:
    """Without a recipient no message is ever begun."""
    with ScriptedServer() as server:
        report = diagnose(Relay(server.port).config())
    assert "envelope" in [finding.code for finding in report.findings]
    assert server.accepted == []
    assert server.commands["DATA"] == server.commands["BDAT"] == 0


def test_auth_before_tls_only(smtp_certs: CertificateAuthority) -> None:
    """AUTH that is offered in clear and gone under TLS is told from AUTH that is not there."""
    ehlo = Reply("250-scripted.test\n250 SIZE 1000000")
    script = Script(
        faults=[Fault(At.EHLO, ehlo, skip=1)],
        starttls=smtp_certs.server_context(),
        accounts={USER: PASSWORD},
        auth_in_clear=True,
    )
    with ScriptedServer(script) as server:
        relay = Relay(server.port, "localhost", S, str(smtp_certs.ca_file), USER, PASSWORD)
        report = diagnose(relay.config())
    assert codes(report)[-1:] == ["auth-in-clear-only"]
    assert server.commands["AUTH"] == 0


def test_the_idle_limit_is_found_on_request() -> None:
    """A server that ends unused sessions sooner than the pool would is noticed, and when it did."""
    with ScriptedServer(Script(limits=Limits(idle=0.4))) as server:
        report = diagnose(Relay(server.port).config(), idle=5.0)
    assert codes(report) == ["idle-limit-below-pool"]


def test_a_patient_server_keeps_an_idle_session() -> None:
    """Within the time asked for nothing happens, and that is said."""
    with ScriptedServer() as server:
        report = diagnose(Relay(server.port).config(), idle=0.1)
    assert codes(report) == []
    assert "idle-kept" in [finding.code for finding in report.findings]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("smtp.gmail.com", "app password"),
        ("smtp.office365.com", "SMTP AUTH must be switched on"),
        ("email-smtp.eu-west-1.amazonaws.com", "SMTP credentials"),
        ("smtp.sendgrid.net", "apikey"),
    ],
)
def test_a_refused_log_in_is_explained_by_the_provider(host: str, words: str) -> None:
    """What a provider's users get wrong stands first in the remedy."""
    around = surroundings(getaddrinfo=addresses_of("127.0.0.1"), resolv_conf=lambda: "search x.example\n")
    with ScriptedServer(Script(accounts={USER: "another"})) as server:
        report = diagnose(Relay(server.port, host, user=USER, password=PASSWORD).config(), surroundings=around)
    assert report.cause is not None
    assert report.cause.code == "auth-refused"
    assert words in report.cause.remedy


@pytest.mark.parametrize(
    ("sender", "extensions", "expected"),
    [
        ("", Extensions(), "envelope-not-tried"),
        ("not an address", Extensions(), "sender-malformed"),
        ("a@b.example\r\nRCPT TO:<x@y.example>", Extensions(), "sender-malformed"),
        ("jörg@shop.example.com", Extensions(smtputf8=False), "mail-unfit"),
        ("jörg@shop.example.com", Extensions(), "envelope"),
    ],
    ids=["none", "malformed", "two lines", "non-ASCII without SMTPUTF8", "non-ASCII with SMTPUTF8"],
)
def test_senders_that_cannot_be_tried(sender: str, extensions: Extensions, expected: str) -> None:
    """What is wrong with the address is said, and nothing of it is written."""
    with ScriptedServer(Script(extensions=extensions)) as server:
        report = diagnose(Relay(server.port).config(), sender=sender)
    assert expected in [finding.code for finding in report.findings]
    assert server.commands["MAIL"] == (2 if expected == "envelope" else 0)
    assert server.commands["RCPT"] == (1 if expected == "envelope" else 0)


def test_a_recipient_without_a_way_to_write_it() -> None:
    """A real mail needs SMTPUTF8 for a recipient's name as well."""
    with ScriptedServer(Script(extensions=Extensions(smtputf8=False))) as server:
        report = diagnose(Relay(server.port).config(), recipient="jörg@example.org")
    assert codes(report) == ["mail-unfit"]
    assert server.accepted == []


def test_the_servers_own_limit_is_told() -> None:
    """LIMITS MAILMAX below the pool's figure is information, no more: the library keeps to it."""
    with ScriptedServer(Script(extensions=Extensions(limits=True), limits=Limits(messages=5))) as server:
        report = diagnose(Relay(server.port).config())
    assert codes(report) == []
    assert "messages-limited" in [finding.code for finding in report.findings]


@pytest.mark.parametrize(
    ("relay", "expected"),
    [
        (Relay(587), "port-unusual"),
        (Relay(465, mode=S), "port-unusual"),
        (Relay(25, mode=TlsMode.IMPLICIT), "port-unusual"),
        (Relay(25, "smtp.office365.com"), "pool-above-provider"),
    ],
)
def test_a_configuration_that_is_remarkable_by_itself(relay: Relay, expected: str) -> None:
    """Port against TLS, and pool against provider, are seen before anything is asked of the network."""

    def nothing(*_: object, **__: object) -> list[Any]:
        raise OSError(113, "No route to host")

    around = surroundings(getaddrinfo=nothing, resolv_conf=lambda: "")
    report = diagnose(dataclasses.replace(relay, host="smtp.office365.com").config(), surroundings=around)
    assert expected in [finding.code for finding in report.examined[0].findings]


class NoToken:
    """A token server that is down."""

    def credentials(self, seconds: float) -> Credentials:
        """Give none."""
        raise CredentialsUnavailable(f"no answer within {seconds:.0f} s", permanent=False)

    def refused(self, credentials: Credentials) -> bool:
        """Have no others."""
        return False

    def still_good(self, credentials: Credentials) -> bool:
        """Mind no session."""
        return True


def test_a_token_server_that_is_down() -> None:
    """The log-in fails before it begins, and the cause is not the relay."""
    with ScriptedServer(Script(accounts={USER: PASSWORD})) as server:
        config = Relay(server.port).config(credentials=Credentials(USER, provider=NoToken()))
        report = diagnose(config)
    assert codes(report) == ["auth-no-credentials"]
    assert server.commands["AUTH"] == 0

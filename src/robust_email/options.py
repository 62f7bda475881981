"""What a project may set: type, default, unit and meaning of each option side by side. ``conf`` reads them.

An option is a keyword of the backend, a word in ``MAILERS[alias]["OPTIONS"]``, and, where no ``MAILERS`` are set, a
setting: ``pool_size`` is ``EMAIL_POOL_SIZE``. The reference in the docs is made from ``OPTIONS``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, get_args, get_origin, get_type_hints

from robust_email import values
from robust_email.smtp import DnsPolicy, OpeningRetry, PoolLimits, Proxy, Submission, WirePolicy
from robust_email.smtp.governor import BreakerPolicy, Rate, RelayLimits

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds; where ``EMAIL_TIMEOUT`` is None, since a backend that waits for ever holds a worker for ever."""

Token = str | Callable[[], str]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What stands beside an option: how it is read, its unit, what it does."""

    read: Callable[[object], object]
    unit: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailerOptions:
    """One relay and account, and how to treat it, in the words of a Django project. All values typed and checked."""

    provider: Annotated[
        str | None,
        Meaning(
            values.provider,
            "",
            "Who runs the relay ('ses:eu-west-1', 'microsoft365', 'gmail' ...); sets what is not set otherwise: host, "
            "port, TLS, and limits that this provider is known to have.",
        ),
    ] = None
    host: Annotated[str, Meaning(values.text, "", "Name or address of the SMTP server.")] = "localhost"
    port: Annotated[
        int | None,
        Meaning(values.whole(1, 65_535), "", "Its port. In MAILERS 465 with use_ssl, 587 with use_tls, else 25."),
    ] = None
    username: Annotated[str | None, Meaning(values.text, "", "Who logs in; without it nobody does.")] = None
    password: Annotated[str | None, Meaning(values.text, "secret", "The password; without it nobody logs in.")] = (
        dataclasses.field(default=None, repr=False)
    )
    use_tls: Annotated[bool, Meaning(values.boolean, "", "Require STARTTLS, usually on port 587.")] = False
    use_ssl: Annotated[bool, Meaning(values.boolean, "", "TLS from the first octet, usually on port 465.")] = False
    timeout: Annotated[
        float, Meaning(values.seconds(), "seconds", "Bounds the opening of a session, and each later step, in total.")
    ] = DEFAULT_TIMEOUT
    ssl_keyfile: Annotated[str | None, Meaning(values.path, "PEM file", "Key of the client certificate.")] = None
    ssl_certfile: Annotated[str | None, Meaning(values.path, "PEM file", "The client certificate.")] = None

    ssl_cafile: Annotated[
        str | None,
        Meaning(values.path, "PEM file", "Authorities to trust instead of the system's, for a private one."),
    ] = None
    local_hostname: Annotated[
        str | None,
        Meaning(values.text, "", "The name given in EHLO and used in Message-IDs; this machine's unless set."),
    ] = None
    source_address: Annotated[
        str | None, Meaning(values.text, "", "The local address that connections start from.")
    ] = None
    proxy: Annotated[
        Proxy | None,
        Meaning(
            values.proxy,
            "secret",
            "Connect through a proxy, which looks up the host: socks5://user:password@host:port, or http://... for "
            "CONNECT.",
        ),
    ] = dataclasses.field(default=None, repr=False)
    final_reply_timeout: Annotated[
        float | None,
        Meaning(
            values.seconds(),
            "seconds",
            "For the reply to the end of data; twice the timeout unless set. "
            "Too short a time here leaves mail in doubt that the server has accepted.",
        ),
    ] = None
    connection_retry_attempts: Annotated[
        int, Meaning(values.whole(1), "attempts", "How often to try for a session before an error is raised.")
    ] = OpeningRetry().attempts
    connection_retry_delay: Annotated[
        float,
        Meaning(values.seconds(zero=True), "seconds", "Between the first two attempts; doubles after each, jittered."),
    ] = OpeningRetry().delay
    pool_size: Annotated[
        int, Meaning(values.whole(1), "sessions", "Kept per process to one relay and account, at most.")
    ] = PoolLimits().size
    pool_timeout: Annotated[
        float, Meaning(values.seconds(), "seconds", "To wait for a session when all of the pool are in use.")
    ] = PoolLimits().wait
    pool_max_idle: Annotated[
        float,
        Meaning(values.seconds(), "seconds", "Unused after which a session is closed; stay below the server's limit."),
    ] = PoolLimits().max_idle
    pool_max_age: Annotated[float, Meaning(values.seconds(), "seconds", "After which a session is replaced.")] = (
        PoolLimits().max_age
    )
    pool_max_messages: Annotated[
        int, Meaning(values.whole(1), "messages", "After which a session is replaced; some servers allow 100.")
    ] = PoolLimits().max_messages
    dns_timeout: Annotated[
        float | None,
        Meaning(values.seconds(), "seconds", "For the resolver; 10, or the timeout where that is shorter."),
    ] = None
    dns_ttl: Annotated[
        float, Meaning(values.seconds(zero=True), "seconds", "For which addresses are used without asking again.")
    ] = DnsPolicy().ttl
    dns_max_stale: Annotated[
        float,
        Meaning(values.seconds(zero=True), "seconds", "For which the last good addresses bridge a dead resolver."),
    ] = DnsPolicy().max_stale
    pipelining: Annotated[
        bool, Meaning(values.boolean, "", "Use PIPELINING where offered; off serves the relay step by step.")
    ] = WirePolicy().pipelining
    chunking: Annotated[bool, Meaning(values.boolean, "", "Use CHUNKING (BDAT) where offered.")] = WirePolicy().chunking
    bulk_window: Annotated[
        int,
        Meaning(
            values.whole(1),
            "messages",
            "On the way at once per session in send_messages() of many; all of them are in doubt if it is lost.",
        ),
    ] = 8
    bulk_sessions: Annotated[
        int, Meaning(values.whole(1), "sessions", "That one send_messages() of many may use side by side.")
    ] = 1
    auth_mechanisms: Annotated[
        tuple[str, ...],
        Meaning(values.words, "", "SASL mechanisms allowed, best first; all that are safe on the channel unless set."),
    ] = ()
    oauth_access_token: Annotated[
        Token | None,
        Meaning(
            values.token,
            "secret",
            "An access token for XOAUTH2 or OAUTHBEARER, or (the dotted path of) a function that gives one; "
            "it is called for every send, so let it cache.",
        ),
    ] = dataclasses.field(default=None, repr=False)
    credentials: Annotated[
        str | Callable[[], object] | None,
        Meaning(
            values.token,
            "",
            "Where the password (and the user name) is read whenever a session is opened: a file's path, 'env:NAME', "
            "a function or its dotted path. A changed one is used at once, without a restart.",
        ),
    ] = None
    oauth: Annotated[
        Mapping[str, str] | None,
        Meaning(
            values.mapping,
            "secret",
            "How to get and renew access tokens: a dictionary with 'provider' ('microsoft', 'google' or 'generic'), "
            "'client_id' and the rest that robust_email.credentials.oauth_settings lists.",
        ),
    ] = dataclasses.field(default=None, repr=False)
    oauth_store: Annotated[
        str,
        Meaning(
            values.token_store,
            "",
            "Where workers share an access token: 'memory' (each has its own), 'cache' or 'cache:ALIAS', or 'file:' "
            "and a folder.",
        ),
    ] = "memory"
    allow_clear_text_auth: Annotated[
        bool, Meaning(values.boolean, "", "Let credentials cross an unencrypted network. Don't.")
    ] = False
    dkim_domain: Annotated[
        str | None, Meaning(values.text, "", "Sign each mail with DKIM for this domain (the d= of the signature).")
    ] = None
    dkim_selector: Annotated[
        tuple[str, ...],
        Meaning(
            values.texts,
            "",
            "Under which the public key stands in DNS: SELECTOR._domainkey.DOMAIN. Several (a list, or with commas "
            "between) sign each mail once each, such as one for RSA and one for Ed25519.",
        ),
    ] = ()
    dkim_key_file: Annotated[
        tuple[str, ...],
        Meaning(
            values.texts,
            "PEM file",
            "The RSA or Ed25519 key to sign with, one for each selector in its order; a replaced file is used at once.",
        ),
    ] = ()
    rate_limit: Annotated[
        tuple[Rate, ...],
        Meaning(
            values.rates,
            "",
            "What all processes together may submit: '14/s', '30/m', '50 recipients/h', or several with commas. Mail "
            "whose turn does not come within pool_timeout is deferred.",
        ),
    ] = ()
    max_connections: Annotated[
        int | None,
        Meaning(values.whole(1), "sessions", "That all processes together may have to this relay and account."),
    ] = None
    governor: Annotated[
        str | None,
        Meaning(
            values.governor_store,
            "secret",
            "Where workers share limits and the relay's health: the URL of a Redis; 'database' or 'database:ALIAS' "
            "(list robust_email.governor in INSTALLED_APPS); 'memory' for one process, which limits or relays imply. "
            "It also gives up a relay that fails, and adapts to one that says it is asked too much.",
        ),
    ] = dataclasses.field(default=None, repr=False)
    governor_processes: Annotated[
        int,
        Meaning(
            values.whole(1),
            "processes",
            "That share the limits: each keeps to its part while the governor's store is gone.",
        ),
    ] = RelayLimits().processes
    adaptive_limits: Annotated[
        bool, Meaning(values.boolean, "", "Go below the limits while the relay says that it is asked for too much.")
    ] = RelayLimits().adaptive
    breaker_failures: Annotated[
        int,
        Meaning(values.whole(1), "failures", "Of the relay in a row, over all processes, after which it is given up."),
    ] = BreakerPolicy().failures
    breaker_cooldown: Annotated[
        float,
        Meaning(values.seconds(), "seconds", "Until a relay that was given up is tried by one; doubles each time."),
    ] = BreakerPolicy().cooldown
    breaker_longest_cooldown: Annotated[
        float, Meaning(values.seconds(), "seconds", "At most between two such trials.")
    ] = BreakerPolicy().longest_cooldown
    lane: Annotated[
        str,
        Meaning(
            values.one_of("priority", "normal", "bulk"),
            "",
            "Who goes first where limits hold mail back; an attribute smtp_lane of a message counts more.",
        ),
    ] = "normal"
    relays: Annotated[
        tuple[Mapping[str, object], ...],
        Meaning(
            values.relays,
            "secret",
            "Relays to use in turn: dictionaries of these options, with 'name' and 'weight'. One without 'host' is the "
            "mailer's own; one with it has its own account. Those with a weight share the mail; the others are for "
            "when these fail.",
        ),
    ] = dataclasses.field(default=(), repr=False)
    relay_router: Annotated[
        str | Callable[[Submission], object] | None,
        Meaning(
            values.token,
            "",
            "A function, or its dotted path, that is given each Submission (envelope, data, kind, lane) and returns "
            "the names of the relays to use for it, first choice first, or nothing.",
        ),
    ] = None
    partial_failure: Annotated[
        str,
        Meaning(
            values.one_of("count", "raise"),
            "",
            "Where some recipients were accepted and some not: 'count' the message, or 'raise' PartlyAccepted.",
        ),
    ] = "count"


DJANGO_SETTINGS: Final = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
    "ssl_keyfile": "EMAIL_SSL_KEYFILE",
    "ssl_certfile": "EMAIL_SSL_CERTFILE",
}
"""Options of Django's own backend, and the settings that Django reads for them."""


@dataclass(frozen=True, slots=True)
class DocumentedOption:
    """A row of the reference: ``type`` in Python's words, ``default`` as a value."""

    name: str
    setting: str
    type: str
    default: object
    unit: str
    meaning: str
    read: Callable[[object], object] = dataclasses.field(repr=False)

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return self.unit == "secret"


def _documented() -> dict[str, DocumentedOption]:
    hints = get_type_hints(MailerOptions, include_extras=True)
    rows = {}
    for field in dataclasses.fields(MailerOptions):
        kind, meaning = get_args(hints[field.name])
        setting = DJANGO_SETTINGS.get(field.name, "EMAIL_" + field.name.upper())
        rows[field.name] = DocumentedOption(
            field.name, setting, _type_name(kind), field.default, meaning.unit, meaning.text, meaning.read
        )
    return rows


def _type_name(kind: object) -> str:
    if get_origin(kind) is None and isinstance(kind, type):
        return kind.__name__
    return str(kind).replace("collections.abc.", "").replace("NoneType", "None")


OPTIONS: Final = _documented()
"""Every option by name, in the order of the reference."""

OWN_OPTIONS: Final = frozenset(OPTIONS) - frozenset(DJANGO_SETTINGS)
"""The options that Django's own backend does not have."""

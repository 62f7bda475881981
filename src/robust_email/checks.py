"""System checks: what can be seen to be wrong in the settings and in the key that signs.

The network is never asked; that is ``email_doctor``.

==================  ===================================================================================
robust_email.E001   the options cannot work: one has a bad value, or two exclude each other
robust_email.E002   a password would cross the network unencrypted, so logging in will be refused
robust_email.E003   a key file without its certificate file
robust_email.E004   mail is to be signed with DKIM and cannot be
robust_email.E005   limits are to be shared in a place that cannot be used, or relays cannot be told apart
robust_email.W001   a user name without password or token, or the other way round: nobody logs in
robust_email.W002   EMAIL_TIMEOUT = None does not mean for ever here
robust_email.W003   the port is not the usual one for this kind of TLS
robust_email.W004   the pool is larger than the provider allows
robust_email.W005   DEFAULT_FROM_EMAIL is still webmaster@localhost
robust_email.W006   the attempts at a session can take longer than a Celery task may
robust_email.W007   a setting looks like a misspelt one of ours
robust_email.W008   a subclass overrides methods of smtplib that are not called
robust_email.W009   credentials may cross the network unencrypted, since that was asked for
robust_email.W010   the reply to the end of data gets less time than the other steps
robust_email.W011   sessions are kept longer than the provider keeps them
robust_email.W012   the provider does not listen on this port, or not with this kind of TLS
robust_email.W013   the provider changes what was signed here with DKIM
robust_email.W014   a password where the provider wants a token
robust_email.W015   limits hold for each process by itself, and nobody said that this is meant
==================  ===================================================================================
"""

from __future__ import annotations

import ipaddress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from robust_email import _compat, conf
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.governing import relays_of, store_of
from robust_email.providers import find_provider, provider_of_host
from robust_email.smtp import SigningFailed, TlsMode
from robust_email.socket_hook import overridden_methods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from robust_email.smtp import SmtpConfig

USUAL_PORTS: Final = {
    TlsMode.NONE: "EMAIL_USE_TLS or EMAIL_USE_SSL is missing: port 587 is for STARTTLS, 465 for TLS from the start.",
    TlsMode.STARTTLS: "Port 465 speaks TLS from the first octet: set EMAIL_USE_SSL, not EMAIL_USE_TLS (RFC 8314 3.3).",
    TlsMode.IMPLICIT: "Ports 587 and 25 begin in clear: set EMAIL_USE_TLS, not EMAIL_USE_SSL (RFC 6409 3.1).",
}
_UNUSUAL: Final = {TlsMode.NONE: {465, 587}, TlsMode.STARTTLS: {465}, TlsMode.IMPLICIT: {25, 587}}


class Subject:
    """One mailer under examination: its backend, options and configuration, and how messages name it."""

    def __init__(self, backend: RobustSMTPEmailBackend, alias: str | None) -> None:
        """Raises ``ImproperlyConfigured``."""
        self.backend = backend
        self.alias = alias
        self.options = backend.options
        self.config: SmtpConfig = backend.config
        named = self.options.provider
        self.profile = find_provider(named)[0] if named else provider_of_host(self.config.host)

    def setting(self, name: str) -> str:
        """Name an option as the project writes it."""
        return conf.OPTIONS[name].setting if self.alias is None else f"MAILERS[{self.alias!r}] OPTIONS {name!r}"

    def error(self, number: int, text: str, hint: str | None = None) -> checks.Error:
        """Return an error with one of our ids."""
        return checks.Error(text, hint=hint, obj=self._shown, id=f"robust_email.E{number:03}")

    def warning(self, number: int, text: str, hint: str | None = None) -> checks.Warning:
        """Return a warning with one of our ids."""
        return checks.Warning(text, hint=hint, obj=self._shown, id=f"robust_email.W{number:03}")

    @property
    def _shown(self) -> str:
        return "EMAIL settings" if self.alias is None else f"MAILERS[{self.alias!r}]"


def check_mailers(app_configs: Sequence[Any] | None = None, **_: object) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Examine every mailer of the project that is ours."""
    found: list[checks.CheckMessage] = []
    for alias in _compat.mailer_aliases():
        try:
            backend = _compat.build_mailer(alias)
            subject = Subject(backend, alias) if isinstance(backend, RobustSMTPEmailBackend) else None
        except (ImproperlyConfigured, ValueError) as exc:
            found.append(checks.Error(str(exc), hint=_HINT_E001, id="robust_email.E001"))
        except ImportError:
            continue  # the dotted path of somebody's backend: Django says so when mail is sent
        else:
            found += [message for rule in RULES for message in rule(subject)] if subject else []
    return found


_HINT_E001 = "Every option, its type and its unit are listed in the documentation under Settings."


def _credentials_in_clear(subject: Subject) -> Iterator[checks.CheckMessage]:
    config = subject.config
    if config.credentials is None or config.tls.mode is not TlsMode.NONE or _is_loopback(config.host):
        return
    if config.allow_clear_text_auth:
        yield subject.warning(
            9, f"{subject.setting('allow_clear_text_auth')} lets the password cross the network unencrypted."
        )
    else:
        yield subject.error(
            2,
            f"The password for {config.endpoint} would cross the network unencrypted; logging in will be refused.",
            f"Set {subject.setting('use_tls')} (port 587) or {subject.setting('use_ssl')} (port 465).",
        )


def _key_without_certificate(subject: Subject) -> Iterator[checks.CheckMessage]:
    if subject.options.ssl_keyfile and not subject.options.ssl_certfile:
        yield subject.error(3, f"{subject.setting('ssl_keyfile')} is set without {subject.setting('ssl_certfile')}.")


def _half_a_login(subject: Subject) -> Iterator[checks.CheckMessage]:
    options = subject.options
    if options.credentials or options.oauth:
        return  # they may bring the user name along, and say so at the log-in where it is missing
    has_secret = bool(options.password or options.oauth_access_token)
    if bool(options.username) != has_secret:
        there, missing = ("username", "password") if options.username else ("password", "username")
        yield subject.warning(
            1,
            f"{subject.setting(there)} is set and {subject.setting(missing)} is empty: nobody will log in.",
            f"Set both, or neither. If {subject.setting(missing)} comes from the environment, it may not be there.",
        )


def _timeout_switched_off(subject: Subject) -> Iterator[checks.CheckMessage]:
    if subject.alias is None and conf.is_set_to_none("EMAIL_TIMEOUT"):
        yield subject.warning(
            2,
            f"EMAIL_TIMEOUT is None, which Django reads as for ever; here it means {conf.DEFAULT_TIMEOUT:.0f} seconds.",
            "Remove it, or set the seconds you want.",
        )


def _port_and_tls(subject: Subject) -> Iterator[checks.CheckMessage]:
    config = subject.config
    if config.port in _UNUSUAL[config.tls.mode]:
        yield subject.warning(
            3, f"Port {config.port} does not go with these TLS settings.", USUAL_PORTS[config.tls.mode]
        )


def _pool_and_provider(subject: Subject) -> Iterator[checks.CheckMessage]:
    profile, pool = subject.profile, subject.config.pool
    if profile is None:
        return
    most = min(pool.size, subject.options.max_connections or pool.size)
    if profile.connections is not None and most > profile.connections:
        yield subject.warning(
            4,
            f"{profile.title} allows {profile.connections} connections at a time and {subject.setting('pool_size')} is "
            f"{pool.size}, in every process.",
            f"Set {subject.setting('max_connections')} to {profile.connections} and {subject.setting('governor')} to "
            f"where your processes share it, or divide {profile.connections} by the number of your processes.",
        )
    if profile.idle is not None and pool.max_idle >= profile.idle:
        yield subject.warning(
            11,
            f"{profile.title} ends sessions after {profile.idle:g} s and {subject.setting('pool_max_idle')} is "
            f"{pool.max_idle:g}: most sessions will be found dead.",
            f"Set it to {profile.idle * 0.8:g} or less.",
        )
    if profile.messages_per_session is not None and pool.max_messages > profile.messages_per_session:
        yield subject.warning(
            11,
            f"{profile.title} takes {profile.messages_per_session} messages per session and "
            f"{subject.setting('pool_max_messages')} is {pool.max_messages}.",
            f"Set it to {profile.messages_per_session} or less.",
        )


def _provider_and_port(subject: Subject) -> Iterator[checks.CheckMessage]:
    profile, config = subject.profile, subject.config
    if profile is None or not profile.serves(config.host):
        return
    begins_with_tls = dict(profile.ports).get(config.port)
    if begins_with_tls is None:
        ports = ", ".join(str(port) for port, _ in profile.ports)
        yield subject.warning(12, f"{profile.title} is not known to listen on port {config.port}, but on {ports}.")
    elif begins_with_tls != (config.tls.mode is TlsMode.IMPLICIT) and config.tls.mode is not TlsMode.NONE:
        needed = subject.setting("use_ssl" if begins_with_tls else "use_tls")
        yield subject.warning(12, f"Port {config.port} of {profile.title} needs {needed}.")


def _provider_and_signature(subject: Subject) -> Iterator[checks.CheckMessage]:
    profile = subject.profile
    if profile is not None and profile.rewrites and subject.config.signer is not None:
        yield subject.warning(
            13,
            f"{profile.title} replaces {' and '.join(profile.rewrites)}, which breaks the DKIM signature made here.",
            f"Let the provider sign, and remove {subject.setting('dkim_domain')}.",
        )


def _provider_and_password(subject: Subject) -> Iterator[checks.CheckMessage]:
    profile, credentials = subject.profile, subject.config.credentials
    if profile is not None and profile.name == "microsoft365" and credentials is not None and credentials.password:
        yield subject.warning(
            14,
            f"{profile.title} is retiring passwords for SMTP: it will refuse to log in.",
            f"Use {subject.setting('oauth')}; manage.py email_oauth helps.",
        )


def _signature(subject: Subject) -> Iterator[checks.CheckMessage]:
    signer = subject.config.signer
    if signer is None:
        return
    try:
        signer.sign(b"From: a@example.org\r\n\r\n")
    except SigningFailed as exc:
        yield subject.error(4, f"No mail can be signed with DKIM, so none will go: {exc}.")


def _attempts_and_task_limit(subject: Subject) -> Iterator[checks.CheckMessage]:
    config, limit = subject.config, conf.task_time_limit()
    pauses = sum(
        min(config.retry.delay * 2**number, config.retry.max_delay) for number in range(config.retry.attempts - 1)
    )
    longest = config.retry.attempts * config.timeouts.opening + pauses
    if longest > limit:
        yield subject.warning(
            6,
            f"{config.retry.attempts} attempts at a session can take {longest:.0f} seconds, longer than the "
            f"{limit:.0f} seconds of a Celery task's time limit: the task may be killed between two attempts.",
            f"Lower {subject.setting('connection_retry_attempts')} or {subject.setting('timeout')}, or raise "
            "CELERY_TASK_SOFT_TIME_LIMIT.",
        )


def _methods_not_called(subject: Subject) -> Iterator[checks.CheckMessage]:
    names = overridden_methods(subject.backend.connection_class)
    if names:
        yield subject.warning(
            8,
            f"The connection_class of {type(subject.backend).__name__} overrides {', '.join(names)}; of such a class "
            "only _get_socket() is called.",
            "What became of a message is in message.smtp_report; the dialogue in the robust_email.transcript logger.",
        )


def _short_final_reply(subject: Subject) -> Iterator[checks.CheckMessage]:
    timeouts = subject.config.timeouts
    if timeouts.final_reply < timeouts.command:
        yield subject.warning(
            10,
            f"{subject.setting('final_reply_timeout')} ({timeouts.final_reply:g} s) is shorter than "
            f"{subject.setting('timeout')} ({timeouts.command:g} s): accepted mail will be reported as in doubt.",
            "RFC 5321 4.5.3.2.6 asks for ten minutes.",
        )


def _limits(subject: Subject) -> Iterator[checks.CheckMessage]:
    options = subject.options
    try:
        relays_of(options, alias=subject.backend.alias)
        if options.governor:
            store_of(options.governor)
    except ImproperlyConfigured as exc:
        yield subject.error(5, f"{subject.setting('governor')} or {subject.setting('relays')} cannot be used: {exc}")
    if (options.rate_limit or options.max_connections) and options.governor is None:
        yield subject.warning(
            15,
            "A limit is set, and each process keeps to it by itself: together they exceed it.",
            f"Set {subject.setting('governor')} to a Redis or 'database', or to 'memory' if there is only one process.",
        )


RULES: tuple[Callable[[Subject], Iterator[checks.CheckMessage]], ...] = (
    _credentials_in_clear,
    _key_without_certificate,
    _half_a_login,
    _timeout_switched_off,
    _port_and_tls,
    _pool_and_provider,
    _provider_and_port,
    _provider_and_signature,
    _provider_and_password,
    _signature,
    _attempts_and_task_limit,
    _methods_not_called,
    _short_final_reply,
    _limits,
)


def check_project(app_configs: Sequence[Any] | None = None, **_: object) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Examine what is not about one mailer."""
    found: list[checks.CheckMessage] = [
        checks.Warning(
            f"{name} is no setting that anybody reads.",
            hint=f"Did you mean {meant}?",
            id="robust_email.W007",
        )
        for name, meant in _misspelt()
    ]
    return found


def check_sender(app_configs: Sequence[Any] | None = None, **_: object) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Examine who mail is from; for ``check --deploy``."""
    if conf.default_from_email() != "webmaster@localhost":
        return []
    return [
        checks.Warning(
            "DEFAULT_FROM_EMAIL is still 'webmaster@localhost'; most servers refuse mail from it.",
            hint="Set it to an address of a domain that your relay may send for.",
            id="robust_email.W005",
        )
    ]


def _misspelt() -> Iterator[tuple[str, str]]:
    ours = [option.setting for option in conf.OPTIONS.values()]
    for name in conf.unknown_email_settings():
        for meant in get_close_matches(name, ours, n=1, cutoff=0.85):
            yield name, meant


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


checks.register(check_mailers, "mail")
checks.register(check_project, "mail")
checks.register(check_sender, "mail", deploy=True)

"""From Django's settings, or a mailer's ``OPTIONS``, to the engine's configuration: the only reader of settings.

Django's eleven ``EMAIL_*`` settings are read by Django's own backend class, which ours extends: from 6.1 on, any other
reader makes the project see a deprecation warning, and with ``MAILERS`` defined there is nothing to read. The options
that Django doesn't know are read here, by the names in ``options``.
"""

from __future__ import annotations

import dataclasses
import logging
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from django.conf import global_settings, settings
from django.core.signals import setting_changed

from robust_email._compat import configuration_error
from robust_email.account import credentials_of, signer_of
from robust_email.options import DEFAULT_TIMEOUT, DJANGO_SETTINGS, OPTIONS, OWN_OPTIONS, MailerOptions
from robust_email.providers import find_provider
from robust_email.smtp import (
    DnsPolicy,
    OpeningRetry,
    PoolLimits,
    SmtpConfig,
    Timeouts,
    TlsMode,
    TlsPolicy,
    WirePolicy,
)
from robust_email.smtp.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "DEFAULT_TIMEOUT",
    "DJANGO_SETTINGS",
    "OPTIONS",
    "OWN_OPTIONS",
    "MailerOptions",
    "default_from_email",
    "django_options",
    "is_set_to_none",
    "options_of_settings",
    "own_options",
    "project_settings",
    "read_option",
    "read_options",
    "report_unknown_options",
    "smtp_config",
    "task_time_limit",
    "unknown_email_settings",
    "uses_time_zones",
]

DEFAULT_PORT: Final = 25
"""For none given; a backend has its port from Django by then, which in MAILERS follows TLS."""

_logger: Final = logging.getLogger("robust_email.backend")
_settings: Final[Any] = settings
"""Django's object with what its type stubs leave out."""


def read_options(
    given: Mapping[str, object], *, alias: str | None = None, defaults: MailerOptions | None = None
) -> MailerOptions:
    """Type and check options; ``None`` means not given.

    Raises ``ImproperlyConfigured`` (``InvalidMailer`` with an alias, from Django 6.1) naming option and setting.
    """
    return dataclasses.replace(defaults or MailerOptions(), **_typed(given, alias))


def _typed(given: Mapping[str, object], alias: str | None) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    for name, value in given.items():
        found = read_option(name, value, alias=alias)
        if found is not None:
            typed[name] = found
    return typed


def read_option(name: str, value: object, *, alias: str | None = None) -> object:
    """Type and check one option's value; errors as ``read_options``."""
    option = OPTIONS[name]
    try:
        return option.read(value)
    except ValueError as exc:
        label = name if alias is not None else option.setting
        raise configuration_error(f"{label} must be {exc}", alias) from exc


def own_options(given: Mapping[str, object], *, alias: str | None = None) -> MailerOptions:
    """Read the options that Django doesn't know: as given, else, without an alias, from their settings.

    Raises as ``read_options``.
    """
    if alias is None and "provider" not in given:
        return read_options(given, defaults=options_of_settings())
    return _with_profile((_set_options() if alias is None else {}) | _typed(given, alias))


@cache
def options_of_settings() -> MailerOptions:
    """Read the settings that Django doesn't know, once: a backend is made for every mail. Errors as above."""
    return _with_profile(_set_options())


@cache
def _set_options() -> dict[str, Any]:
    return _typed({name: getattr(settings, OPTIONS[name].setting, None) for name in OWN_OPTIONS}, None)


def _with_profile(typed: dict[str, Any]) -> MailerOptions:
    """Fill in what the provider is known for, where nothing else was said."""
    name = typed.get("provider")
    if not name:
        return dataclasses.replace(MailerOptions(), **typed)
    profile = find_provider(name)[0]
    shared = _typed(profile.shared_options, None) if typed.get("governor") else {}
    return dataclasses.replace(MailerOptions(), **profile.pool_options | shared | typed)


def django_options(given: Mapping[str, object], provider: object, *, alias: str | None) -> dict[str, object]:
    """Return host, port and TLS as given, with the provider's in the place of what neither was given nor is set.

    ``given`` has Django's names; None means not given. Raises as ``read_options``.
    """
    name = read_option("provider", provider, alias=alias)
    if name is None and alias is None:
        name = options_of_settings().provider
    if name is None:
        return dict(given)

    def is_open(option: str) -> bool:
        return given[option] is None and (alias is not None or not _settings.is_overridden(DJANGO_SETTINGS[option]))

    profile, region = find_provider(str(name))
    if is_open("host"):
        host = profile.host_in(region)
        if host is None:
            label = "provider" if alias is not None else "EMAIL_PROVIDER"
            raise configuration_error(f"{label} needs a region, as in {profile.name}:{profile.region}", alias)
        given = {**given, "host": host}
    if is_open("use_tls") and is_open("use_ssl") and is_open("port"):
        given = {**given, "port": profile.port, "use_tls": not profile.use_ssl, "use_ssl": profile.use_ssl}
    return dict(given)


def _forget_settings(*, setting: str, **_: object) -> None:
    if setting.startswith("EMAIL_"):
        options_of_settings.cache_clear()
        _set_options.cache_clear()


setting_changed.connect(_forget_settings, dispatch_uid="robust_email.conf")


def report_unknown_options(given: Mapping[str, object], *, alias: str | None) -> None:
    """Point at what looks like a misspelt option. Django 6.1 itself refuses all that are unknown, for an alias.

    Without an alias applications pass keywords that are meant for another backend, and Django lets them.
    """
    for name in given:
        for meant in get_close_matches(name, OPTIONS, n=1, cutoff=0.85):
            if alias is not None:
                raise configuration_error(f"Unknown option {name!r}. Did you mean {meant!r}?", alias)
            _logger.warning("Unknown e-mail option %r is ignored. Did you mean %r?", name, meant)


def is_set_to_none(setting: str) -> bool:
    """Tell whether the project itself set something to None."""
    holder = _settings._wrapped  # noqa: SLF001 - LazySettings itself would give 6.1's warning
    return _settings.is_overridden(setting) and getattr(holder, setting) is None


def default_from_email() -> str:
    """Return the project's ``DEFAULT_FROM_EMAIL``."""
    return str(settings.DEFAULT_FROM_EMAIL)


def task_time_limit() -> float:
    """Return the seconds a Celery task may take, by the usual settings; five minutes where there are none."""
    limits = (getattr(settings, f"CELERY_TASK_{kind}TIME_LIMIT", None) for kind in ("SOFT_", ""))
    return min((float(limit) for limit in limits if isinstance(limit, (int, float)) and limit), default=300.0)


def unknown_email_settings() -> list[str]:
    """Return the project's ``EMAIL_*`` settings that neither Django nor this package knows."""
    ours = {option.setting for option in OPTIONS.values()}
    return [
        name
        for name in dir(settings)
        if name.startswith("EMAIL_") and name not in ours and not hasattr(global_settings, name)
    ]


def project_settings(names: Iterable[str]) -> dict[str, object]:
    """Return what the project has set of these; for parts of the package with settings of their own."""
    return {name: getattr(settings, name) for name in names if hasattr(settings, name)}


def uses_time_zones() -> bool:
    """Tell whether the project's datetimes are aware (``USE_TZ``)."""
    return bool(settings.USE_TZ)


def smtp_config(options: MailerOptions, *, alias: str | None = None) -> SmtpConfig:
    """Translate into the engine's words. Nothing is opened or looked up.

    Raises as ``read_options`` for what cannot work together.
    """
    try:
        return SmtpConfig(
            host=options.host,
            port=options.port or DEFAULT_PORT,
            local_hostname=options.local_hostname,
            source_address=options.source_address,
            proxy=options.proxy,
            signer=signer_of(options),
            tls=_tls(options),
            credentials=credentials_of(options, secret_key=_secret_key),
            allow_clear_text_auth=options.allow_clear_text_auth,
            timeouts=Timeouts.uniform(
                options.timeout, final_reply=options.final_reply_timeout, dns=options.dns_timeout
            ),
            pool=PoolLimits(
                size=options.pool_size,
                wait=options.pool_timeout,
                max_idle=options.pool_max_idle,
                max_age=options.pool_max_age,
                max_messages=options.pool_max_messages,
            ),
            retry=OpeningRetry(attempts=options.connection_retry_attempts, delay=options.connection_retry_delay),
            dns=DnsPolicy(ttl=options.dns_ttl, max_stale=options.dns_max_stale),
            wire=WirePolicy(pipelining=options.pipelining, chunking=options.chunking),
        )
    except (ConfigurationError, ImportError) as exc:
        raise configuration_error(str(exc), alias) from exc


def _secret_key() -> str:
    return str(settings.SECRET_KEY)


def _tls(options: MailerOptions) -> TlsPolicy:
    mode = TlsMode.IMPLICIT if options.use_ssl else TlsMode.STARTTLS if options.use_tls else TlsMode.NONE
    return TlsPolicy(mode=mode, cafile=options.ssl_cafile, certfile=options.ssl_certfile, keyfile=options.ssl_keyfile)

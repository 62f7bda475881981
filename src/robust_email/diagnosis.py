"""What the doctor is to examine, read off a Django project: the relay that mail really goes to, and who it is from."""

from __future__ import annotations

import dataclasses
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends import smtp
from django.db import Error as DbError
from django.utils.module_loading import import_string

from robust_email import _compat, conf
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.checks import RULES, Subject, check_project, check_sender
from robust_email.doctor import CAUSES, DoctorReport, Examined, Finding, Plan, Severity
from robust_email.smtp import Timeouts
from robust_email.socket_hook import has_socket_hook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.core.mail.backends.base import BaseEmailBackend

    from robust_email.smtp import SmtpConfig

_SEEN_BY_THE_DOCTOR: Final = frozenset({"robust_email.W003", "robust_email.W004"})
"""Checks that a probe of its own repeats, with or without Django: port against TLS, pool against provider."""


class NothingToExamine(Exception):
    """There is no relay: mail ends in this process, or the configuration cannot be used. ``report`` says so."""

    def __init__(self, code: str, found: str) -> None:
        """Make the report."""
        super().__init__(found)
        cause = CAUSES[code]
        finding = Finding(code, cause.severity, found, cause.remedy)
        self.report = DoctorReport("no relay", "none", (Examined("configuration", "Configuration", 0.0, (finding,)),))


def known_aliases() -> list[str]:
    """Return the names by which a mailer can be asked for: of ``MAILERS``, or ``default`` for the settings."""
    return [alias or "default" for alias in _compat.mailer_aliases()]


def plan_for(
    alias: str | None = None,
    *,
    timeout: float | None = None,
    **wishes: Any,  # noqa: ANN401 - the fields of Plan
) -> Plan:
    """Return the plan for a mailer of this project; ``None``: the default one. ``wishes`` are fields of ``Plan``.

    ``timeout``: seconds for each step instead of the configured ones. Raises ``NothingToExamine``, and ``KeyError``
    for an unknown alias.
    """
    aliases = {each or "default": each for each in _compat.mailer_aliases()}
    chosen = aliases[alias] if alias else aliases.get("default", next(iter(aliases.values())))
    try:
        backend = _handing_over(_compat.build_mailer(chosen))
        config, notes = _examined(backend, chosen)
    except (ImproperlyConfigured, ImportError, ValueError) as exc:
        raise NothingToExamine("configuration-unusable", str(exc)) from exc
    if timeout is not None:
        config = dataclasses.replace(config, timeouts=Timeouts.uniform(timeout))
    notes += _of_the_outbox()
    return Plan(config, sender=parseaddr(conf.default_from_email())[1], notes=tuple(notes), **wishes)


def _of_the_outbox() -> list[Finding]:
    """Return what ``outbox_status`` and the health view say too, where the project has an outbox."""
    if not apps.is_installed("robust_email.outbox"):
        return []
    health = import_string("robust_email.outbox.selectors.health")
    try:
        problems = health().problems
    except (DbError, ImproperlyConfigured) as exc:
        text = f"it cannot be told how the outbox stands: {type(exc).__name__}"
        return [Finding("outbox.unknown", Severity.ERROR, text, "See to the database, run migrate and check.")]
    return [Finding(f"outbox.{each.code}", Severity.ERROR, each.text, each.remedy) for each in problems]


def _handing_over(backend: BaseEmailBackend) -> BaseEmailBackend:
    """Return the backend behind the outbox, where there is one."""
    if not getattr(type(backend), "enters_outbox", False):
        return backend
    # By name: the outbox is an app of its own, which nothing here depends on.
    backend_for = import_string("robust_email.outbox.relays.backend_for")
    behind: BaseEmailBackend = backend_for(getattr(backend, "relay", None))
    return behind


def _examined(backend: BaseEmailBackend, alias: str | None) -> tuple[SmtpConfig, list[Finding]]:
    notes: list[Finding] = []
    if isinstance(backend, RobustSMTPEmailBackend):
        subject = Subject(backend, alias)
        notes += _as_findings(message for rule in RULES for message in rule(subject))
        config = backend.config
        if has_socket_hook(backend.connection_class):
            notes.append(_finding("own-sockets", f"{_name(backend)} opens sockets by a connection_class of its own"))
    elif isinstance(backend, smtp.EmailBackend):
        options = conf.read_options({name: getattr(backend, name, None) for name in conf.DJANGO_SETTINGS}, alias=alias)
        config = conf.smtp_config(options, alias=alias)
        notes.append(_finding("backend-not-ours", f"mail goes through {_name(backend)}"))
    else:
        raise NothingToExamine("backend-not-smtp", f"mail goes to {_name(backend)}, which speaks to no server")
    return config, notes + _as_findings([*check_project(), *check_sender()])


def _name(backend: object) -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"


def _finding(code: str, found: str) -> Finding:
    cause = CAUSES[code]
    return Finding(code, cause.severity, found, cause.remedy)


def _as_findings(messages: Iterable[checks.CheckMessage]) -> list[Finding]:
    return list(_translated(messages))


def _translated(messages: Iterable[checks.CheckMessage]) -> Iterator[Finding]:
    for message in messages:
        if message.id and message.id not in _SEEN_BY_THE_DOCTOR:
            severity = Severity.ERROR if message.level >= checks.ERROR else Severity.WARNING
            yield Finding(message.id, severity, message.msg, message.hint or "")

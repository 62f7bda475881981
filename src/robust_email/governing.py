"""From a mailer's options to governors and relay groups: who shares what with whom.

Everybody with the same endpoint and user name shares limits, and everybody with the same endpoint its circuit: in the
whole process with ``EMAIL_GOVERNOR = "memory"``, over all processes and hosts with a Redis or the database.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from django.utils.module_loading import import_string

from robust_email import conf
from robust_email._compat import configuration_error
from robust_email.options import OPTIONS, MailerOptions
from robust_email.smtp.governor import BreakerPolicy, MemoryStore, RelayLimits, SharedGovernor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from robust_email.smtp import SmtpConfig, Submission
    from robust_email.smtp.events import Listener
    from robust_email.smtp.governor import Store


_OF_AN_ACCOUNT: Final = ("username", "password", "credentials", "oauth", "oauth_access_token")
_OF_A_CHANNEL: Final = ("port", "use_tls", "use_ssl")
_OF_THE_MAILER: Final = frozenset({"relays", "relay_router", "provider", "lane", "partial_failure"})


@dataclass(frozen=True, slots=True)
class Governance:
    """What a governor is made from: part of what makes two backends share a client."""

    limits: RelayLimits
    store: str = field(repr=False)
    """As ``EMAIL_GOVERNOR``."""


def governance_of(options: MailerOptions) -> Governance | None:
    """Return what the options ask for; ``None`` leaves the engine without a governor, which costs nothing."""
    if not (options.governor or options.rate_limit or options.max_connections or options.relays):
        return None
    limits = RelayLimits(
        rates=options.rate_limit,
        connections=options.max_connections,
        breaker=BreakerPolicy(
            failures=options.breaker_failures,
            cooldown=options.breaker_cooldown,
            longest_cooldown=max(options.breaker_cooldown, options.breaker_longest_cooldown),
        ),
        adaptive=options.adaptive_limits,
        processes=options.governor_processes,
    )
    return Governance(limits, options.governor or "memory")


def make_governor(governance: Governance, config: SmtpConfig, listener: Listener) -> SharedGovernor:
    """Make the governor of a relay and account. Nothing is asked yet."""
    user = config.credentials.username if config.credentials else ""
    account = f"{config.endpoint}:{hashlib.blake2b(user.encode(), digest_size=6).hexdigest()}"
    return SharedGovernor(config.endpoint, account, governance.limits, store_of(governance.store), listener=listener)


@cache
def store_of(name: str) -> Store:
    """Return the process's store for a value of ``EMAIL_GOVERNOR``. Raises ``ImproperlyConfigured``."""
    try:
        return _make_store(name)
    except ImportError as exc:
        raise configuration_error(f"EMAIL_GOVERNOR with a Redis needs the extra 'redis': {exc}", None) from exc
    except (RuntimeError, ValueError) as exc:  # a model whose app is not installed; a URL that is none
        raise configuration_error(f"EMAIL_GOVERNOR cannot be used: {exc}", None) from exc


def _make_store(name: str) -> Store:
    kind, _, rest = name.partition(":")
    if kind == "memory":
        return MemoryStore()
    if kind == "database":
        from robust_email.governor.store import DatabaseStore  # its model needs the app

        return DatabaseStore(rest or None)
    from robust_email.smtp.governor.redis_store import RedisStore  # needs the redis extra

    return RedisStore(name)


def relays_of(options: MailerOptions, *, alias: str | None = None) -> list[tuple[str, int, MailerOptions]]:
    """Return name, weight and options of each relay of a mailer; raises as ``conf.read_options``.

    A relay says what differs from its mailer. With a host of its own it has an account of its own: no password goes to
    a server that it was not meant for. How the channel is encrypted is the mailer's too, unless the relay says it.
    """
    relays = []
    for number, given in enumerate(options.relays, 1):
        label = f"relay {number} of {'relays' if alias is not None else OPTIONS['relays'].setting}"
        own = {name: value for name, value in given.items() if name not in {"name", "weight"}}
        if unknown := sorted((own.keys() - OPTIONS.keys()) | (own.keys() & _OF_THE_MAILER)):
            raise configuration_error(f"{label} has an option {unknown[0]!r}, which a relay cannot have", alias)
        weight = given.get("weight", 0)
        if isinstance(weight, bool) or not isinstance(weight, int) or weight < 0:
            raise configuration_error(f"{label} has a weight that is no whole number of 0 or more", alias)
        apart: tuple[str, ...] = _OF_AN_ACCOUNT if "host" in own else ()
        apart += _OF_A_CHANNEL if own.keys() & set(_OF_A_CHANNEL) else ()
        blank = MailerOptions()
        inherited = dataclasses.replace(options, **{name: getattr(blank, name) for name in apart})
        name = str(given.get("name") or own.get("host") or options.host)
        relays.append((name, weight, conf.read_options(own, alias=alias, defaults=inherited)))
    if len({name for name, _, _ in relays}) != len(relays):
        raise configuration_error("two relays have the same name", alias)
    return relays


def route_of(router: object) -> Callable[[Submission], Sequence[str]] | None:
    """Return a project's router in the engine's form; it may give one name, several, or None."""
    if router is None:
        return None
    ask = cast("Callable[[Submission], object]", import_string(router) if isinstance(router, str) else router)

    def route(submission: Submission) -> Sequence[str]:
        names = ask(submission)
        if isinstance(names, str):
            return (names,)
        return tuple(cast("Sequence[str]", names or ()))

    return route

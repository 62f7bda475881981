"""System checks of the outbox. The network is never asked.

========================  ==================================================================================
robust_email_outbox.E001  a setting is wrong, or the backend that hands over cannot be built
robust_email_outbox.E002  the outbox leads back into itself: mail would go round for ever
robust_email_outbox.E003  ``EMAIL_OUTBOX_WAKEUP`` cannot be had
robust_email_outbox.W001  the backend that hands over gives no report: verdicts are coarse
robust_email_outbox.W002  a delay is longer than a Celery task waits: the sweep begins that attempt, a little late
========================  ==================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from robust_email import _compat
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.relays import DEFAULT, MAILER, Relay, backend_for, enters_outbox
from robust_email.outbox.wakeup import LONGEST_COUNTDOWN, current_wake_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def register() -> None:
    """Hook into ``manage.py check``, and so into the start of every command."""
    checks.register(check_outbox, "mail")


def check_outbox(app_configs: Sequence[Any] | None = None, **_: object) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Examine the settings, and every relay that mail can be given to by them."""
    try:
        outbox_settings()
        relays = list(_relays())
    except ImproperlyConfigured as exc:
        return [checks.Error(str(exc), id="robust_email_outbox.E001")]
    found = [message for relay in relays for message in _examine(relay)]
    try:
        current_wake_up()
    except ImproperlyConfigured as exc:
        found.append(checks.Error(str(exc), id="robust_email_outbox.E003"))
    return found + list(_delays())


def _delays() -> Iterator[checks.CheckMessage]:
    settings = outbox_settings()
    if settings.wakeup != "celery":
        return
    longest = {
        "EMAIL_OUTBOX_RETRY_SCHEDULE": max(settings.retry_schedule, default=0.0) * (1 + settings.retry_jitter),
        "EMAIL_OUTBOX_CONFIGURATION_PAUSE": settings.configuration_pause,
    }
    for name, seconds in longest.items():
        if seconds > LONGEST_COUNTDOWN:
            yield checks.Warning(
                f"{name} makes a mail wait for up to {seconds:.0f} s, and no Celery task waits for more than "
                f"{LONGEST_COUNTDOWN:.0f}: the sweep begins the attempt, up to EMAIL_OUTBOX_SWEEP late.",
                hint="See that Celery's beat runs BEAT_SCHEDULE, or cron outbox_drain; then silence this check.",
                id="robust_email_outbox.W002",
            )


def _relays() -> Iterator[Relay]:
    """Yield where mail goes that enters the outbox by one of the project's mailers."""
    seen = set()
    for alias in _compat.mailer_aliases():
        try:
            backend = _compat.build_mailer(alias)
        except ImportError:
            continue  # somebody else's backend; Django says so when mail is sent
        relay: Relay | None = getattr(backend, "relay", None) if enters_outbox(backend) else None
        if relay is not None and relay.name not in seen:
            seen.add(relay.name)
            yield relay


def _examine(relay: Relay) -> Iterator[checks.CheckMessage]:
    if relay.name != DEFAULT and not relay.name.startswith(MAILER):
        return  # found out at the hand-over; a resolver may ask the database
    try:
        backend = backend_for(relay)
    except ImproperlyConfigured as exc:
        number = "E002" if "round for ever" in str(exc) else "E001"
        yield checks.Error(str(exc), id=f"robust_email_outbox.{number}")
        return
    if not isinstance(backend, RobustSMTPEmailBackend):
        yield checks.Warning(
            f"{type(backend).__qualname__} gives no report: the outbox knows of a mail only what its return value or "
            "exception says, and takes a lost connection for a doubt.",
            hint="Silence this check if that is enough.",
            id="robust_email_outbox.W001",
        )

"""A test mode: what would be tried again after minutes is tried again at once, as often as before."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, Final

from django.test import override_settings

from robust_email import conf
from robust_email.outbox.conf import outbox_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE: Final[dict[str, Any]] = {
    "EMAIL_OUTBOX_RETRY_JITTER": 0.0,
    "EMAIL_OUTBOX_CONFIGURATION_PAUSE": 0.001,
    "EMAIL_OUTBOX_POLL": 0.01,
}


IN_MEMORY: Final = "robust_email.testing.inmemory.InMemoryEmailBackend"
OUTBOX: Final = "robust_email.outbox.backend.OutboxEmailBackend"


def mail_in_memory(*, outbox: bool = False) -> dict[str, Any]:
    """Return the settings by which the project's mail goes to the relay in memory, through the outbox or straight."""
    mailers: Any = conf.project_settings(["MAILERS"]).get("MAILERS")
    if not mailers:
        return {"EMAIL_BACKEND": OUTBOX if outbox else IN_MEMORY, "EMAIL_OUTBOX_BACKEND": IN_MEMORY}
    chosen: dict[str, Any] = {alias: {"BACKEND": IN_MEMORY} for alias in mailers}
    if outbox:
        chosen |= {"default": {"BACKEND": OUTBOX, "OPTIONS": {"using": "memory"}}, "memory": {"BACKEND": IN_MEMORY}}
    return {"MAILERS": chosen, "EMAIL_OUTBOX_BACKEND": IN_MEMORY}


@contextlib.contextmanager
def schedules_at_once(**overrides: Any) -> Iterator[None]:  # noqa: ANN401 - any setting
    """Shorten every delay between attempts to nothing, inside the block; the numbers of attempts stay.

    ``overrides`` are further settings, as for ``override_settings``. Time-outs stay as they are: they bound what a
    server may do, and a test that wants a short one sets it.
    """
    delays = [0.0] * len(outbox_settings().retry_schedule)
    values = {**AT_ONCE, "EMAIL_OUTBOX_RETRY_SCHEDULE": delays, **_of_mailers(), **overrides}
    with _quiet():
        override = override_settings(**values)
        override.enable()
    try:
        yield
    finally:
        with _quiet():
            override.disable()


def _of_mailers() -> dict[str, Any]:
    """Return what takes the pause from the opening of sessions, in ``MAILERS`` or without."""
    mailers: Any = conf.project_settings(["MAILERS"]).get("MAILERS")
    if not mailers:
        return {"EMAIL_CONNECTION_RETRY_DELAY": 0.0}
    quick = {"connection_retry_delay": 0.0}
    return {"MAILERS": {alias: _with(quick, mailer) for alias, mailer in mailers.items()}}


def _with(options: dict[str, Any], mailer: dict[str, Any]) -> dict[str, Any]:
    ours = str(mailer.get("BACKEND", "")).startswith("robust_email.")
    return {**mailer, "OPTIONS": {**mailer.get("OPTIONS", {}), **options}} if ours else mailer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """From Django 6.1 on whoever sets ``EMAIL_*`` is warned, and here that is us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        yield

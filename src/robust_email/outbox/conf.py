"""What a project may set about the outbox, beside how each setting is read; ``robust_email.conf`` does the reading.

An attribute is a setting: ``batch`` is ``EMAIL_OUTBOX_BATCH``. The reference in the docs is made from ``OPTIONS``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from robust_email import conf, values
from robust_email.options import Meaning
from robust_email.outbox.states import State
from robust_email.setting_tables import SettingTable
from robust_email.smtp import Schedule

DAY: Final = 86_400.0
_EVERY_FINAL: Final = {
    State.ACCEPTED: 30 * DAY,
    State.SUPERSEDED: 30 * DAY,
    State.EXPIRED: 30 * DAY,
    State.CANCELLED: 30 * DAY,
    State.PARTLY: 90 * DAY,
    State.REFUSED: 90 * DAY,
    State.DEAD: 90 * DAY,
}


def _delays(value: object) -> tuple[float, ...] | None:
    """Read a list of seconds."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a list of seconds, not {value!r}")  # noqa: TRY004 - a wrong setting, whatever its type
    read = values.seconds(zero=True)
    return tuple(found for each in value if (found := read(each)) is not None)


def _fraction(value: object) -> float | None:
    found = values.seconds(zero=True)(value)
    if found is not None and found > 1:
        raise ValueError(f"a fraction between 0 and 1, not {value!r}")
    return found


def _retention(value: object) -> tuple[tuple[State, float], ...] | None:
    """Read days per state, over the defaults; None keeps that state for ever."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"a dictionary of days by state, not {value!r}")  # noqa: TRY004 - as above
    kept: dict[State, float] = dict(_EVERY_FINAL)
    for name, days in value.items():
        if name not in _EVERY_FINAL:
            raise ValueError(f"a dictionary with keys among {', '.join(_EVERY_FINAL)}, not {name!r}")
        found = values.seconds(zero=True)(days)
        if found is None:
            kept.pop(State(name), None)
        else:
            kept[State(name)] = found * DAY
    return tuple(kept.items())


def _keys(value: object) -> tuple[str, ...] | None:
    """Read one key or several. The text of the error holds none."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)) and all(isinstance(key, str) for key in value):
        return tuple(value)
    raise ValueError("a key as Fernet.generate_key() makes it, or a list of them, the one to encrypt with first")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSettings:
    """All of them, typed and checked. Durations are seconds, sizes are octets."""

    backend: Annotated[
        str, Meaning(values.text, "dotted path", "The backend that hands over what has no mailer of its own.")
    ] = "robust_email.backend.RobustSMTPEmailBackend"
    wakeup: Annotated[
        str,
        Meaning(values.text, "", "Who is told of new mail: 'celery', 'django.tasks', 'none', or a dotted path."),
    ] = "none"
    wakeup_at_exit: Annotated[
        float,
        Meaning(
            values.seconds(zero=True),
            "seconds",
            "That a process which ends waits at most for the broker to be told of its last mails. Nobody else waits.",
        ),
    ] = 1.0
    retry_schedule: Annotated[
        tuple[float, ...], Meaning(_delays, "seconds", "Before each retry of a mail that a relay deferred.")
    ] = (60.0, 120.0, 240.0, 300.0, 300.0)
    retry_jitter: Annotated[
        float, Meaning(_fraction, "fraction", "Of the delay, added at random to all but the first.")
    ] = 0.25
    outage_patience: Annotated[
        float,
        Meaning(
            values.seconds(zero=True),
            "seconds",
            "After it was written, was to go or was queued again, that a mail is kept, past the schedule, while no "
            "session with its relay can be had: nobody was offered it, so no retry was used.",
        ),
    ] = 4 * 3600.0
    configuration_pause: Annotated[
        float,
        Meaning(
            values.seconds(),
            "seconds",
            "For which a relay that refuses our configuration (a password, say) is left alone, unless a person resumes "
            "it with outbox_requeue. No mail uses up a retry meanwhile.",
        ),
    ] = 900.0
    in_doubt: Annotated[
        str,
        Meaning(
            values.one_of("resend", "hold"),
            "",
            "What follows if a relay may have a mail and has not said so: 'resend' the same octets, or 'hold' it.",
        ),
    ] = "resend"
    lease: Annotated[
        float, Meaning(values.seconds(), "seconds", "After which a mail is taken from a worker that gives no sign.")
    ] = 120.0
    heartbeat: Annotated[
        float, Meaning(values.seconds(), "seconds", "Between two signs; a third of the lease or less.")
    ] = 30.0
    max_lost_leases: Annotated[
        int, Meaning(values.whole(1), "workers", "That may die on one mail before it is given up as dead.")
    ] = 5
    batch: Annotated[int, Meaning(values.whole(1), "messages", "That one worker claims at a time.")] = 100
    batch_octets: Annotated[
        int, Meaning(values.whole(1), "octets", "Of bodies that one worker claims at a time, about.")
    ] = 16 * 1024 * 1024
    window: Annotated[
        int,
        Meaning(
            values.whole(1),
            "messages",
            "On the way at once on a session, and so what a killed worker leaves in doubt at most.",
        ),
    ] = 8
    poll: Annotated[
        float, Meaning(values.seconds(), "seconds", "Between two looks of outbox_drain --forever at an empty outbox.")
    ] = 1.0
    sweep: Annotated[
        float,
        Meaning(values.seconds(), "seconds", "Between two sweeps; how long after its time a mail is left behind."),
    ] = 30.0
    scrub: Annotated[
        str,
        Meaning(
            values.one_of("sensitive", "all", "none"),
            "",
            "Whose bodies are removed once accepted, or never to be submitted.",
        ),
    ] = "sensitive"
    retention: Annotated[
        tuple[tuple[State, float], ...],
        Meaning(_retention, "days by state", "After which outbox_purge removes what has ended; None: never."),
    ] = tuple(_EVERY_FINAL.items())
    storage: Annotated[
        str | None,
        Meaning(
            values.text,
            "alias",
            "The Django storage for large bodies, in its folder outbox/; none: all in the row. Outboxes may share it "
            "that differ in SECRET_KEY or in their database's name.",
        ),
    ] = None
    storage_threshold: Annotated[int, Meaning(values.whole(1), "octets", "From which a body goes to the storage.")] = (
        256 * 1024
    )
    relay_resolver: Annotated[
        str | None,
        Meaning(
            values.text,
            "dotted path",
            "A function from a relay reference (a tenant's number, say) to the backend that hands its mail over.",
        ),
    ] = None
    secret_keys: Annotated[
        tuple[str, ...],
        Meaning(_keys, "secret", "Fernet keys for credentials kept with a mail; the first encrypts, all decrypt."),
    ] = dataclasses.field(default=(), repr=False)
    alert_age: Annotated[
        float, Meaning(values.seconds(), "seconds", "That a mail may be overdue before outbox_status fails.")
    ] = 900.0

    def __post_init__(self) -> None:
        """Refuse what cannot work together."""
        if self.heartbeat * 2 > self.lease:
            raise ImproperlyConfigured("EMAIL_OUTBOX_HEARTBEAT must be at most half of EMAIL_OUTBOX_LEASE.")

    @property
    def schedule(self) -> Schedule:
        """The long run of a mail."""
        return Schedule(delays=self.retry_schedule, jitter=self.retry_jitter)

    @property
    def lease_time(self) -> timedelta:
        """The lease, to be added to a time."""
        return timedelta(seconds=self.lease)


_TABLE: Final = SettingTable(OutboxSettings, "EMAIL_OUTBOX_")

OPTIONS: Final = _TABLE.options
"""Every setting by attribute, in the order of the reference."""


@lru_cache(maxsize=1)
def outbox_settings() -> OutboxSettings:
    """Return the project's; read once. ``ImproperlyConfigured`` names the setting that is wrong."""
    return _TABLE.read()


def names_a_backend() -> bool:
    """Tell whether the project itself chose ``EMAIL_OUTBOX_BACKEND``."""
    return bool(conf.project_settings([OPTIONS["backend"].setting]))


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith("EMAIL_OUTBOX_"):
        outbox_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="robust_email.outbox.conf")

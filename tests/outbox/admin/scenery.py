"""A shop's outbox as it might be on an afternoon: what the pages are tried with, and pictured for the documentation."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from robust_email.outbox.models import OutboxMessage, OutboxRelay, SubmissionTally
from robust_email.outbox.services.tallying import ALL_RELAYS, BOUNDS, SLICE
from robust_email.outbox.states import State
from tests.outbox.admin.conftest import make_attempt, make_mail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

DAYS: Final = 30
_RELAYS: Final = {"default": 1.0, "mailer:newsletter": 0.55, "ref:tenant-7": 0.12}
_PEOPLE: Final = ("ann", "bob", "chloé", "dmitri", "emeka", "fatima", "gu", "hana", "ines", "jonas", "kofi", "lena")
_KINDS: Final = ("order", "verification", "invoice", "password-reset")


def paint() -> OutboxMessage:
    """Write it all; returns the mail with the longest life."""
    dice = random.Random(7)  # noqa: S311 - scenery, the same each time
    now = timezone.now()
    SubmissionTally.objects.bulk_create(_tallies(now, dice), batch_size=500)
    OutboxRelay.objects.create(
        name="mailer:newsletter",
        trouble=OutboxRelay.Trouble.DOWN,
        since=now - timedelta(minutes=11),
        failures=4,
        ask_again_at=now + timedelta(minutes=3, seconds=20),
        reason="mx.bulk.example: connection refused at 192.0.2.25:587",
        endpoint="mx.bulk.example:587",
    )
    _accepted(now, dice)
    row = _long_life(now)
    _troubled(now)
    return row


def _tallies(now: datetime, dice: random.Random) -> Iterator[SubmissionTally]:
    last = int(now.timestamp()) // SLICE - 1
    for number in range(last - DAYS * 288, last):
        hour = (number * SLICE / 3600) % 24
        age = (last - number) / 12
        rhythm = 0.25 + max(0.0, math.sin((hour - 6) / 24 * 2 * math.pi)) ** 1.5 + 0.12 * dice.random()
        weekday = (number // 288 + 4) % 7
        base = 92 * rhythm * (0.55 if weekday in {0, 6} else 1.0)
        outage = 6.0 <= age <= 7.2 or 24 * 12 <= age <= 24 * 12 + 6
        total: dict[str, int] = {}
        for relay, share in _RELAYS.items():
            for disposition, phase, count in _outcomes(base * share, dice, outage=outage and relay == "default"):
                total[disposition] = total.get(disposition, 0) + count
                for below, part in _spread(count, relay):
                    yield SubmissionTally(
                        slice=number,
                        relay=relay,
                        disposition=disposition,
                        phase=phase,
                        seconds_below=below,
                        attempts=part,
                    )
        for disposition, count in total.items():
            yield SubmissionTally(
                slice=number, relay=ALL_RELAYS, disposition=disposition, seconds_below=BOUNDS[-1], attempts=count
            )


def _outcomes(base: float, dice: random.Random, *, outage: bool) -> Iterator[tuple[str, str, int]]:
    accepted = int(base * (0.15 if outage else 1.0) * (0.9 + 0.2 * dice.random()))
    found = [("accepted", "await-final", accepted)]
    found.append(
        ("deferred", "connect" if outage else "rcpt", int(base * 0.5) if outage else int(dice.random() * base / 28))
    )
    found.append(("refused", "rcpt", int(dice.random() * base / 40)))
    found.append(("in-doubt", "await-final", int(outage and dice.random() < 0.25)))
    yield from (each for each in found if each[2])


def _spread(count: int, relay: str) -> Iterator[tuple[float, int]]:
    shares = {0.05: 0.2, 0.1: 0.55, 0.25: 0.2, 1.0: 0.05} if relay == "default" else {0.25: 0.6, 0.5: 0.3, 2.5: 0.1}
    rest = count
    for below, share in shares.items():
        part = min(rest, math.ceil(count * share))
        rest -= part
        if part:
            yield below, part


def _accepted(now: datetime, dice: random.Random) -> None:
    for number in range(58):
        made = now - timedelta(seconds=3 + number * 1.1)
        row = _mail(dice, made, State.ACCEPTED, relay="ref:tenant-7" if number % 9 == 4 else "default", attempts=1)
        make_attempt(
            row, ended_at=made + timedelta(seconds=0.4), seconds=0.06, code=250, reply="250 2.0.0 Ok: queued as 4ZP1kb"
        )


def _mail(dice: random.Random, made: datetime, state: str, **columns: Any) -> OutboxMessage:  # noqa: ANN401 - columns
    name = dice.choice(_PEOPLE)
    ended = {"finished_at": made + timedelta(seconds=0.4)} if state != State.QUEUED else {}
    given = {"created_at": made, "kind": dice.choice(_KINDS), **ended, **columns}
    return make_mail(state, to=[f"{name}@customer.example"], **given)


def _troubled(now: datetime) -> None:
    dice = random.Random(11)  # noqa: S311 - the same
    ask = now + timedelta(minutes=3, seconds=20)
    down = "mx.bulk.example: connection refused at 192.0.2.25:587"
    for number in range(37):
        _mail(
            dice,
            now - timedelta(minutes=10, seconds=-8 * number),
            State.QUEUED,
            kind="newsletter",
            relay="mailer:newsletter",
            next_attempt_at=ask,
            waits_for_relay=True,
            reason=down,
        )
    for number, (state, reply, phase, disposition) in enumerate(
        (
            (State.REFUSED, "550 5.1.1 <c***@c***.example> no such user here", "rcpt", "refused"),
            (State.DEAD, "452 4.2.2 mailbox is full", "rcpt", "deferred"),
            (State.IN_DOUBT, "the session ended before the final reply came", "await-final", "in-doubt"),
            (State.REFUSED, "554 5.7.1 message rejected as spam", "await-final", "refused"),
        )
    ):
        made = now - timedelta(seconds=24 - 5 * number)
        row = _mail(dice, made, state, relay="default", reason=reply, attempts=1 if state != State.DEAD else 6)
        make_attempt(
            row, ended_at=made + timedelta(seconds=1), disposition=disposition, phase=phase, reply=reply, accepted=0
        )


def _long_life(now: datetime) -> OutboxMessage:
    """Greylisted, deferred, its relay down, in doubt, and in the end held."""
    made = now - timedelta(minutes=9)
    row = make_mail(
        State.IN_DOUBT,
        to=["ines.moreau@customer.example", "accounts@customer.example"],
        created_at=made,
        kind="invoice",
        in_doubt="hold",
        attempts=3,
        retries=2,
        doubts=1,
        content_size=48_213,
        finished_at=now - timedelta(seconds=31),
        reason="the session ended before the final reply came",
        message_id="<20261124.a81f4e90@shop.example>",
    )
    row.recipients.filter(position=0).update(standing="in-doubt", reason="no final reply")
    row.recipients.filter(position=1).update(standing="accepted", code=250, enhanced_code="2.0.0")
    worker = "web-2/4711/9f3ab2c1"
    steps: list[dict[str, Any]] = [
        {
            "ended_at": made + timedelta(seconds=1),
            "disposition": "deferred",
            "phase": "rcpt",
            "reply": "451 4.7.1 greylisted, please try again in 60 seconds",
            "deferred": 1,
            "seconds": 0.081,
        },
        {
            "ended_at": made + timedelta(seconds=64),
            "disposition": "deferred",
            "phase": "connect",
            "reply": "mail.example.org: no answer from 192.0.2.10:587 within 5 s",
            "accepted": 0,
            "deferred": 1,
            "seconds": 5.002,
        },
        {
            "ended_at": now - timedelta(seconds=31),
            "disposition": "in-doubt",
            "phase": "await-final",
            "reply": "the session ended before the final reply came",
            "accepted": 0,
            "in_doubt": 1,
            "seconds": 1.34,
        },
    ]
    for step in steps:
        make_attempt(row, endpoint="mail.example.org:587", worker=worker, **step)
    return row

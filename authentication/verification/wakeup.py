"""Who is told of new mail: the task of its kind, by name. A hint and no more, since the row is the truth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from celery import current_app

from authentication.verification.kinds import DELIVER, KINDS, SEND_VERIFICATION
from robust_email.outbox.models import OutboxMessage
from robust_email.outbox.wakeup import publisher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

DRAIN: Final = "robust_email.outbox.drain"
DRAINS: Final = 4
"""Begun for a backlog; one that finds nothing ends at once."""
FEW: Final = 20
"""Mails told of one by one; more are a backlog."""


class AccountsWakeUp:
    """``EMAIL_OUTBOX_WAKEUP``. The broker is spoken to by the outbox's own thread; the caller does not wait."""

    bounded = True

    def notify(self, pks: Sequence[UUID], *, expires: float | None = None) -> None:
        """Have each of these mails sent by its task. One that was taken back is told of too: it looks the same."""
        if len(pks) > FEW:
            self.notify_backlog()
            return
        kinds = dict(OutboxMessage.objects.filter(pk__in=pks).values_list("pk", "kind"))
        names = {pk: _task_of(kinds.get(pk)) for pk in pks}
        publisher.publish(partial(_send_tasks, names, expires), instead=_send_drains)

    def notify_backlog(self) -> None:
        """Have all that is due worked off."""
        publisher.publish(_send_drains, instead=_send_drains)


def _task_of(kind: str | None) -> str:
    if kind is None:
        return SEND_VERIFICATION
    return KINDS[kind].task if kind in KINDS else DELIVER


def _send_tasks(names: dict[UUID, str], expires: float | None) -> None:
    for pk, name in names.items():
        current_app.send_task(name, args=[str(pk)], retry=False, expires=expires)


def _send_drains() -> None:
    for _ in range(DRAINS):
        current_app.send_task(DRAIN, retry=False, expires=60)

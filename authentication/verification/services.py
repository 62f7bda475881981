"""Mail to a customer: rendered, and written into the outbox in the caller's transaction. Nothing waits for a relay.

Whoever asks for a code must not learn from it whether an address is known. So where there is nobody to write to, or
the day's limit is reached, the same mail is rendered and written all the same, and then taken back
(``pretend_to_mail``): the same statements, the same work, no mail.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.utils import timezone, translation

from authentication.core.models import User
from authentication.verification import selectors
from authentication.verification.emails import build_email
from robust_email import outbox
from robust_email.outbox import wakeup
from robust_email.outbox.models import OutboxMessage, Priority

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authentication.verification.kinds import Kind

MAILS_A_DAY: Final = 10
"""To one address, of the kinds that anybody can cause. Counted in the database: no cache, no proxy and no number of
senders gets around it."""
NOBODY: Final = "nobody@invalid.invalid"
"""Whom a mail that is taken back was for."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail that is to be rendered; the fields are ``mail_customer``'s arguments."""

    kind: Kind
    template: str
    to: str
    context: Mapping[str, Any]
    expires_at: datetime | None = None
    asked_by: str = ""

    @property
    def supersede_key(self) -> str | None:
        """What the mails have in common of which only the newest is of use. Hashed: an address may be too long."""
        if not self.kind.secret:
            return None
        return hashlib.sha256(f"{self.kind.name}:{self.asked_by}:{self.to}".encode()).hexdigest()


def mail_customer(
    *,
    kind: Kind,
    template: str,
    to: str,
    context: Mapping[str, Any] | None = None,
    expires_at: datetime | None = None,
    asked_by: str = "",
) -> OutboxMessage | None:
    """Write one mail into the outbox; None if the address has had its share of today.

    ``expires_at`` is when the code in it dies, ``kind.lifetime`` from now if not given. A mail with a code takes the
    place of the one of the same kind that still waits and was ``asked_by`` the same session: a code is good in the
    session that asked for it, so a stranger who asks for another one must not take the customer's away.
    """
    draft = Draft(kind, template, to, context or {}, expires_at, asked_by)
    return _write(draft, send=True)


def pretend_to_mail(*, kind: Kind, template: str) -> None:
    """Do everything that a mail costs, for nobody."""
    _write(Draft(kind, template, NOBODY, {"code": "XXXX-XXXX"}), send=False)


def _write(draft: Draft, *, send: bool) -> OutboxMessage | None:
    now = timezone.now()
    expires_at = draft.expires_at
    if draft.kind.lifetime is not None:
        # A code that is about to die may still go: the worker looks at the time once more.
        expires_at = max(expires_at or now + draft.kind.lifetime, now + timedelta(seconds=1))
    minutes = round((expires_at - now).total_seconds() / 60) if expires_at else None
    message = build_email(
        template=draft.template,
        to=draft.to,
        language=selectors.language_of(draft.to) or translation.get_language() or "",
        context={"now": now, "expires_at": expires_at, "minutes": minutes, **draft.context},
    )
    capped = draft.kind.capped and selectors.capped_mails_of_a_day(draft.to) >= MAILS_A_DAY
    with transaction.atomic():
        row = outbox.enqueue(
            message,
            kind=draft.kind.name,
            expires_at=expires_at,
            supersede_key=draft.supersede_key,
            sensitive=draft.kind.secret,
            priority=Priority.HIGH,
        )
        if send and not capped:
            return row
        transaction.set_rollback(True)  # of this block: the mail, and nothing else of the request
    transaction.on_commit(partial(wakeup.notify, [row.pk]), robust=True)
    return None


def pretend_to_register() -> None:
    """Do what a new account costs in the database, and take it back: a known address must not answer faster."""
    with transaction.atomic():
        User.objects.create_user(NOBODY, "as expensive as a real one")
        transaction.set_rollback(True)

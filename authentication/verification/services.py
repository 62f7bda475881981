"""Mail to a customer: rendered, and written into the outbox in the caller's transaction. Nothing waits for a relay.

Whoever asks for a code must not learn from it whether an address is known. So where there is nobody to write to, or
the day's limit is reached, the same mail is rendered and written all the same, and then taken back
(``pretend_to_mail``): the same statements, the same work, no mail.
"""

from __future__ import annotations

import hashlib
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

    from django.core.mail import EmailMultiAlternatives

    from authentication.verification.kinds import Kind

MAILS_A_DAY: Final = 10
"""To one address, of the kinds that anybody can cause. Counted in the database: no cache, no proxy and no number of
senders gets around it."""
NOBODY: Final = "nobody@invalid.invalid"
"""Whom a mail that is taken back was for."""


def mail_customer(
    *,
    kind: Kind,
    template: str,
    to: str,
    context: Mapping[str, Any] | None = None,
    expires_at: datetime | None = None,
) -> OutboxMessage | None:
    """Write one mail into the outbox; None if the address has had its share of today.

    ``expires_at`` is when the code in it dies, ``kind.lifetime`` from now if not given. A mail with a code takes the
    place of the one of the same kind that still waits.
    """
    return _mail(kind, template, to, context or {}, expires_at, send=True)


def pretend_to_mail(*, kind: Kind, template: str) -> None:
    """Do everything that a mail costs, for nobody."""
    _mail(kind, template, NOBODY, {"code": "XXXX-XXXX"}, None, send=False)


def _mail(
    kind: Kind, template: str, to: str, context: Mapping[str, Any], expires_at: datetime | None, *, send: bool
) -> OutboxMessage | None:
    now = timezone.now()
    if kind.lifetime is not None:
        # A code that is about to die may still go: the worker looks at the time once more.
        expires_at = max(expires_at or now + kind.lifetime, now + timedelta(seconds=1))
    language = selectors.language_of(to) or translation.get_language() or ""
    minutes = round((expires_at - now).total_seconds() / 60) if expires_at else None
    message = build_email(
        template=template,
        to=to,
        language=language,
        context={"now": now, "expires_at": expires_at, "minutes": minutes, **context},
    )
    capped = kind.capped and selectors.capped_mails_of_a_day(to) >= MAILS_A_DAY
    with transaction.atomic():
        row = _enqueue(message, kind, to, expires_at)
        if send and not capped:
            return row
        transaction.set_rollback(True)  # of this block: the mail, and nothing else of the request
    transaction.on_commit(partial(wakeup.notify, [row.pk]), robust=True)
    return None


def _enqueue(message: EmailMultiAlternatives, kind: Kind, to: str, expires_at: datetime | None) -> OutboxMessage:
    # Hashed, since an address may be longer than the key.
    key = hashlib.sha256(f"{kind.name}:{to}".encode()).hexdigest() if kind.secret else None
    return outbox.enqueue(
        message,
        kind=kind.name,
        expires_at=expires_at,
        supersede_key=key,
        sensitive=kind.secret,
        priority=Priority.HIGH,
    )


def pretend_to_register() -> None:
    """Do what a new account costs in the database, and take it back: a known address must not answer faster."""
    with transaction.atomic():
        User.objects.create_user(NOBODY, "as expensive as a real one")
        transaction.set_rollback(True)

"""The outbox: a mail is a row in the caller's transaction, and a worker hands it over until it has a verdict.

``send_mail()`` reaches it when ``robust_email.outbox.backend.OutboxEmailBackend`` is the project's backend; ``enqueue``
is for callers who want more than that. Start reading at ``dispatch.run_batch``: claim | submit | settle.

===================  ==================================================================================================
``states``           the life of a row, as a table
``models``           the tables; what must always hold is a constraint
``services``         every change of state, each one short transaction
``selectors``        reads, none of which walks the accepted mails
``dispatch``         one row or one batch: claimed, submitted outside any transaction, settled
``handover``         a claimed row through a backend of any kind
``gate``             who may keep a recipient from being offered to a relay (suppression does)
``wakeup``           telling a worker; a hint, since the row is the truth
``dashboard``        the admin's pages; ``admin`` and ``health`` are what a project meets of it
===================  ==================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from django.core.mail import EmailMessage

    from robust_email.outbox.models import OutboxMessage


def enqueue(
    message: EmailMessage,
    *,
    kind: str = "",
    dedupe_key: str | None = None,
    expires_at: datetime | None = None,
    send_after: datetime | None = None,
    priority: int | None = None,
    supersede_key: str | None = None,
    in_doubt: Literal["resend", "hold"] | None = None,
    sensitive: bool = False,
    relay: str = "",
) -> OutboxMessage:
    """Write the mail into the outbox, in the caller's transaction, and return its row.

    Args:
        message: is rendered now; its octets, envelope and Message-ID are what every attempt will carry.
        kind: a word of the caller's for this class of mail, for lists and figures ("verification", "invoice").
        dedupe_key: the same key twice is one mail; the row of the first is returned.
        expires_at: from then on the mail is worthless and is not submitted any more.
        send_after: not before that time.
        priority: a ``models.Priority``; mail of a higher one goes first.
        supersede_key: waiting mails with the same key give way to this one.
        in_doubt: what follows if the relay may have the mail and has not said so: ``resend`` the same octets, or
            ``hold`` until a person decides. None means ``EMAIL_OUTBOX_IN_DOUBT``.
        sensitive: the body is removed once the mail is accepted, or will never be submitted.
        relay: which one, as ``EMAIL_OUTBOX_RELAY_RESOLVER`` understands it, or ``mailer:ALIAS``; empty: the project's.

    Raises:
        ValueError: the message is malformed, has no recipient, or is to expire before it may go.
        ImproperlyConfigured: the relay cannot be kept with the row.
    """
    from robust_email.outbox.services.enqueueing import Wishes, enqueue_message  # models need Django's apps to be ready

    given: dict[str, Any] = {"priority": priority, "in_doubt": in_doubt}
    wishes = Wishes(
        kind=kind,
        dedupe_key=dedupe_key,
        expires_at=expires_at,
        send_after=send_after,
        supersede_key=supersede_key,
        sensitive=sensitive,
        relay=relay,
        **{name: value for name, value in given.items() if value is not None},
    )
    return enqueue_message(message, wishes)

"""Suppression: addresses that refuse mail for good, or whose owners complained, get no more of it from the outbox.

A Django app of its own beside ``robust_email.outbox``. What counts and for how long is ``EMAIL_SUPPRESSION_POLICY``.

================  ====================================================================================================
``reports``       an inbound mail's octets to a ``Report``: pure, tolerant, never an error
``policy``        what a status code or a complaint costs an address: pure
``tokens``        bounce addresses that name one recipient and cannot be forged
``services``      every change; evidence is added, never changed
``retention``     what is removed in time
``selectors``     who is suppressed, and which mails of ours a report can be about
``receivers``     the signals of the backend and the outbox that bring refusals here
``mailboxes``     a Maildir or an IMAP folder, each mail once
================  ====================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robust_email.suppression.services import BounceResult


def process_bounce(raw: bytes, *, recipient: str = "") -> BounceResult:
    """Read one inbound mail, and suppress whom it proves to be unreachable; any octets are fine, none raise.

    Args:
        raw: the whole message, as an inbound webhook, a pipe or a mailbox gives it.
        recipient: the envelope's recipient, where known: it may carry the token of ``bounce_address``.
    """
    from robust_email.suppression.services import process_bounce as process  # models need Django's apps to be ready

    return process(raw, recipient=recipient)


def bounce_address(recipient: str) -> str:
    """Return a return path for mail to this one recipient: ``EMAIL_SUPPRESSION_RETURN_PATH`` with a token in it.

    Raises:
        ImproperlyConfigured: the setting is missing, or leaves no room for the token.
        InvalidAddress: ``recipient`` is no mailbox.
    """
    from robust_email.suppression.tokens import bounce_address as make  # settings need to be there

    return make(recipient)

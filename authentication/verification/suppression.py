"""A code that comes back proves the mailbox: whoever was refused there once gets all mail again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robust_email.suppression import selectors, services
from robust_email.suppression.addresses import digest_of
from robust_email.suppression.models import Reason

if TYPE_CHECKING:
    from allauth.account.models import EmailAddress

    from authentication.core.models import User


def on_email_confirmed(email_address: EmailAddress, **_: object) -> None:
    """Listen to allauth: the code of a verification was entered."""
    _lift_refusal(email_address.email)


def on_password_reset(user: User, **_: object) -> None:
    """Listen to allauth: the code of a reset was entered, and a password chosen."""
    _lift_refusal(user.email)


def _lift_refusal(address: str) -> None:
    """Lift what a mail server said. What the owner said by a complaint stays, and what one of our people decided."""
    for row in selectors.active().filter(digest=digest_of(address), reason=Reason.REFUSED):
        services.lift(row, remark="a code that was mailed there was entered")

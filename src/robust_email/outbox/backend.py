"""``OutboxEmailBackend``: ``send_mail()`` writes a row in the caller's transaction and returns.

``EMAIL_BACKEND = "robust_email.outbox.backend.OutboxEmailBackend"``, and ``EMAIL_OUTBOX_BACKEND`` hands over; or, from
Django 6.1, a mailer with ``OPTIONS = {"using": "another mailer"}``. A relay of its own may be given: by reference
(``relay="tenant:42"``, see ``EMAIL_OUTBOX_RELAY_RESOLVER``) or by Django's arguments (``host=``, ``password=``...),
which are kept encrypted.

A message may carry ``outbox_options``, a dictionary of ``outbox.enqueue``'s keywords, for code that can only call
``message.send()``. Afterwards ``message.outbox_message`` is its row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.mail.backends.base import BaseEmailBackend
from django.db import Error as DbError

from robust_email import _compat, conf
from robust_email.outbox.conf import names_a_backend
from robust_email.outbox.database import database, logger
from robust_email.outbox.relays import Relay, relay_of
from robust_email.outbox.services.enqueueing import Wishes, all_or_none, enqueue_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.core.mail import EmailMessage

_ABSENT: Final = (None, "")


class OutboxEmailBackend(BaseEmailBackend):
    """Takes mail into the outbox. Raises ``ImproperlyConfigured`` for a relay that can't be kept or leads back."""

    enters_outbox: Final = True

    def __init__(
        self,
        fail_silently: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        *,
        using: str | None = None,
        relay: str = "",
        alias: str | None = None,
        **options: Any,  # noqa: ANN401 - Django's and SMTP's arguments, of many types
    ) -> None:
        super().__init__(**_compat.alias_argument(alias))
        self.fail_silently = bool(fail_silently)
        self.alias = alias
        own = {name: value for name, value in options.items() if name in conf.OPTIONS and value not in _ABSENT}
        unknown = {name: value for name, value in options.items() if name not in conf.OPTIONS}
        conf.report_unknown_options(unknown, alias=alias)
        if alias is not None:
            self._check_alias(alias, using, unknown, has_relay=bool(own or relay))
        self.relay: Relay = relay_of(using=using, reference=relay, options=own)

    @staticmethod
    def _check_alias(alias: str, using: str | None, unknown: dict[str, Any], *, has_relay: bool) -> None:
        if unknown:
            raise _compat.configuration_error(f"Unknown options: {', '.join(map(repr, unknown))}.", alias)
        if using == alias:
            raise _compat.configuration_error("'using' names this mailer itself: mail would go round for ever.", alias)
        if using is None and not (has_relay or names_a_backend()):
            raise _compat.configuration_error("OPTIONS['using'] must name the mailer that hands mail over.", alias)

    def send_messages(self, email_messages: Iterable[EmailMessage]) -> int:
        """Write messages into the outbox, all or none, and return how many; those without recipients don't count.

        Raises ``ValueError`` for a malformed message. ``fail_silently`` keeps back, and logs, what the database says.
        """
        using = database()
        try:
            with all_or_none(email_messages, using):
                return sum(1 for _ in self._enqueued(email_messages))
        except DbError:
            if not self.fail_silently:
                raise
            logger.exception("Mail could not be written into the outbox")
            return 0

    def _enqueued(self, messages: Iterable[EmailMessage]) -> Iterator[None]:
        taken: list[EmailMessage] = []

        def wishes() -> Iterator[tuple[EmailMessage, Wishes]]:
            for message in messages:
                if message.recipients():
                    taken.append(message)
                    yield message, self._wishes(message)

        for row in enqueue_messages(wishes()):
            vars(taken.pop(0))["outbox_message"] = row
            yield

    def _wishes(self, message: EmailMessage) -> Wishes:
        options: dict[str, Any] = dict(getattr(message, "outbox_options", None) or {})
        if relay := options.pop("relay", ""):
            return Wishes(**options, relay=relay)
        return Wishes(**options, relay=self.relay)

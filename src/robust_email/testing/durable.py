"""The outbox in a test: what waits, let it go, let time pass, and see what became of it. Needs a database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db.models.functions import Now

from robust_email.outbox.database import database
from robust_email.outbox.dispatch import Tally, run_batch
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, OutboxRelay
from robust_email.outbox.services.sweeping import sweep
from robust_email.testing import inmemory
from robust_email.testing.assertions import assert_accepted_once

if TYPE_CHECKING:
    from robust_email.testing.inmemory import InMemoryRelay
    from robust_email.testing.ledger import AcceptedMessage

MOST_BATCHES: Final = 100
"""After which ``drain`` is taken to go round for ever."""


class OutboxProbe:
    """The project's outbox, as a test sees it."""

    @property
    def relay(self) -> InMemoryRelay:
        """The relay of ``InMemoryEmailBackend``: its ledger, and where faults are added."""
        return inmemory.relay

    @property
    def messages(self) -> list[OutboxMessage]:
        """All rows, in the order they were written."""
        return list(OutboxMessage.objects.using(database()).order_by("pk"))

    @property
    def states(self) -> list[str]:
        """What each row is in, in the order they were written."""
        return [str(message.state) for message in self.messages]

    def message_to(self, address: str) -> OutboxMessage:
        """Return the only mail for this recipient; ``AssertionError`` for none or several."""
        keys = OutboxRecipient.objects.using(database()).filter(address=address).values("message_id")
        found = list(OutboxMessage.objects.using(database()).filter(pk__in=keys))
        if len(found) != 1:
            raise AssertionError(f"the outbox holds {len(found)} mails for that recipient, wanted one: {self.states}")
        return found[0]

    def standings(self, message: OutboxMessage) -> dict[str, str]:
        """Return what is known of each recipient: pending, accepted, deferred, refused, in-doubt."""
        recipients = OutboxRecipient.objects.using(database()).filter(message=message).order_by("position")
        return {each.address: str(each.standing) for each in recipients}

    def run(self) -> Tally:
        """Hand over what is due, in one batch, as a worker would."""
        return run_batch()

    def drain(self) -> Tally:
        """Hand over until nothing is left to be handed over, time passing between the batches."""
        total = Tally()
        for _ in range(MOST_BATCHES):
            self.let_time_pass()
            batch = run_batch()
            total.add(batch)
            if not batch.claimed:
                return total
        raise AssertionError(f"mail is still waiting after {MOST_BATCHES} batches: {self.states}")

    def let_time_pass(self) -> None:
        """Let the time of every waiting mail and relay come, and that of lost leases."""
        using = database()
        OutboxRelay.objects.using(using).exclude(trouble=OutboxRelay.Trouble.PAUSED).update(
            since=Now() - timedelta(seconds=1), ask_again_at=Now() - timedelta(seconds=1)
        )
        OutboxMessage.objects.using(using).filter(next_attempt_at__isnull=False).update(
            next_attempt_at=Now() - timedelta(seconds=1)
        )
        OutboxMessage.objects.using(using).filter(lease_until__isnull=False).update(
            lease_until=Now() - timedelta(seconds=1)
        )
        sweep()

    def assert_accepted_once(self, address: str) -> AcceptedMessage:
        """Return the one message that the relay took for this recipient; ``AssertionError`` for none or several."""
        return assert_accepted_once(self.relay, self.message_to(address).message_id)

"""What all parts of one dialogue share: the channel, the script, the faults to come and the ledger to write in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robust_email.testing.acting import perform, say
from robust_email.testing.faults import At, FaultPlan, Occasion

if TYPE_CHECKING:
    from robust_email.testing.channel import Channel
    from robust_email.testing.ledger import ConnectionRecord, Ledger
    from robust_email.testing.script import Script

_ENHANCED = re.compile(r"^(\d{3}[ -])[245]\.\d{1,3}\.\d{1,3} ", re.MULTILINE)


@dataclass(slots=True)
class Stage:
    """One connection's dialogue, and how far it has come."""

    channel: Channel
    script: Script
    plan: FaultPlan
    ledger: Ledger
    transactions: int = 0
    """MAIL commands so far that could begin a transaction."""
    accepted: int = 0
    """Messages taken so far."""
    early_reply: bool = False
    """A fault has answered the content while it was still arriving."""

    @property
    def record(self) -> ConnectionRecord:
        """This connection's entry in the ledger."""
        return self.channel.record

    def say(self, reply: str) -> str:
        """Give a reply that no fault may touch."""
        return say(self.channel, self._worded(reply))

    def answer(self, at: At, usual: str = "", subject: str = "") -> str | None:
        """Give the usual reply or do what a fault wants here; see :func:`~robust_email.testing.acting.perform`."""
        fault = self.plan.take(Occasion(at, self.record.connection, self.transactions, subject))
        return perform(fault.action if fault else None, self._worded(usual), self.channel)

    def reading(self, octets: int) -> None:
        """Hear of content that arrives, and do what a fault wants after so many octets."""
        fault = self.plan.take(Occasion(At.BODY, self.record.connection, self.transactions, octets=octets))
        if fault and perform(fault.action, "", self.channel) is not None:
            self.early_reply = True

    def _worded(self, reply: str) -> str:
        if self.script.extensions.enhanced_status_codes:
            return reply
        return _ENHANCED.sub(r"\1", reply)

"""What a submission came to: a verdict for every recipient, and how it was reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robust_email.smtp.outcome import Disposition, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robust_email.smtp.phases import Phase
    from robust_email.smtp.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at opening a session or at a transaction. ``seconds`` is how long it took."""

    number: int
    phase: Phase
    """How far it got."""
    seconds: float
    verdict: Verdict | None = None
    """Why it ended; ``None`` when the server answered the end of data."""
    session: int | None = None


@dataclass(frozen=True, slots=True)
class SubmissionReport:
    """Exactly one verdict per recipient; ``verdicts`` keys are the forward paths of the envelope.

    ``message_id`` is the header's value. ``seconds`` is the whole duration.
    """

    message_id: str | None
    endpoint: str
    verdicts: Mapping[str, Verdict]
    attempts: tuple[AttemptRecord, ...] = ()
    seconds: float = 0.0
    session: int | None = None
    kind: str = ""
    """``Submission.kind``."""
    cause: BaseException | None = field(default=None, repr=False, compare=False)
    """The socket's error behind a failure, for ``raise ... from``."""

    def _having(self, disposition: Disposition) -> tuple[str, ...]:
        return tuple(to for to, verdict in self.verdicts.items() if verdict.disposition is disposition)

    @property
    def accepted(self) -> tuple[str, ...]:
        """Recipients the server took responsibility for."""
        return self._having(Disposition.ACCEPTED)

    @property
    def deferred(self) -> tuple[str, ...]:
        """Recipients the server does not have; submitting to these again is safe."""
        return self._having(Disposition.DEFERRED)

    @property
    def refused(self) -> tuple[str, ...]:
        """Recipients refused for good."""
        return self._having(Disposition.REFUSED)

    @property
    def in_doubt(self) -> tuple[str, ...]:
        """Recipients that may or may not have it."""
        return self._having(Disposition.IN_DOUBT)

    @property
    def retryable(self) -> tuple[str, ...]:
        """The recipients that a retry may name, and no others."""
        return tuple(to for to, verdict in self.verdicts.items() if verdict.retryable)

    @property
    def all_accepted(self) -> bool:
        """Whether nobody is left to care for."""
        return len(self.accepted) == len(self.verdicts)

    @property
    def decisive(self) -> Verdict:
        """The verdict that speaks for the mail: in doubt, then deferred, then refused, then accepted."""
        order = (Disposition.IN_DOUBT, Disposition.DEFERRED, Disposition.REFUSED, Disposition.ACCEPTED)
        return min(self.verdicts.values(), key=lambda verdict: order.index(verdict.disposition))

    @property
    def final_reply(self) -> Reply | None:
        """The reply to the end of data, where there was one; many servers name their queue id in it."""
        for verdict in self.verdicts.values():
            if verdict.disposition is Disposition.ACCEPTED:
                return verdict.reply
        return None

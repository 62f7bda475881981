"""What relays refuse becomes evidence: from the backend's signal ``refused`` and the outbox's ``settled``.

Only a reply counts, never our own decision not to submit, and only one that is about the recipient: to RCPT, or after
it where the mail had no other. What fails here is logged by Django and ends there; it changes no verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robust_email import signals
from robust_email.outbox.signals import settled
from robust_email.smtp import Disposition, Phase
from robust_email.suppression import services
from robust_email.suppression.models import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.smtp import SubmissionReport, Verdict
    from robust_email.suppression.services import Evidence

_AFTER_RCPT = frozenset({Phase.DATA, Phase.BODY, Phase.AWAIT_FINAL})


def connect() -> None:
    """Listen; connecting twice is connecting once."""
    for signal in (signals.refused, settled):
        signal.connect(on_report, dispatch_uid="robust_email.suppression")


def disconnect() -> None:
    """Listen no more."""
    for signal in (signals.refused, settled):
        signal.disconnect(dispatch_uid="robust_email.suppression")


def on_report(report: SubmissionReport | None, **_: object) -> None:
    """Note each refusal of a recipient that a report holds."""
    for evidence in refusals(report) if report is not None else ():
        services.note(evidence)


def refusals(report: SubmissionReport) -> Iterator[Evidence]:
    """Yield what a report says about recipients for good."""
    for address, verdict in report.verdicts.items():
        if verdict.disposition is Disposition.REFUSED and _is_about_recipient(verdict, len(report.verdicts)):
            enhanced = verdict.reply.enhanced if verdict.reply is not None else None
            yield services.Evidence(
                address=address,
                source=Source.RELAY,
                status=str(enhanced) if enhanced is not None else "",
                code=verdict.reply.code if verdict.reply is not None else None,
                message_id=report.message_id or "",
                detail=verdict.reason,
            )


def _is_about_recipient(verdict: Verdict, recipients: int) -> bool:
    if verdict.reply is None:
        return False
    return verdict.phase is Phase.RCPT or (verdict.phase in _AFTER_RCPT and recipients == 1)

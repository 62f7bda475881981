"""Claimed rows through a backend. Ours is spoken to through its pool, many mails at a time; any other mail by mail.

Whatever a row holds, its end is a report or the reason why it could not be submitted; the rows behind it go on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from robust_email.backend import RobustSMTPEmailBackend
from robust_email.outbox.coarse import coarse_report
from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.models import DoubtPolicy, Priority
from robust_email.outbox.replay import stored_message
from robust_email.outbox.services.settling import Finished
from robust_email.outbox.storage import ContentMissing, content_of
from robust_email.outbox.verdicts import is_open
from robust_email.smtp import Envelope, MailData, Submission, SubmissionReport
from robust_email.smtp.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from django.core.mail.backends.base import BaseEmailBackend

    from robust_email.outbox.models import OutboxMessage
    from robust_email.outbox.services.claims import Claim

_LANES: Final[dict[int, Lane]] = {Priority.HIGH: Lane.PRIORITY, Priority.NORMAL: Lane.NORMAL, Priority.LOW: Lane.BULK}

_OVERRIDABLE: Final = ("send_messages", "_send", "open")


def hand_over(
    claim: Claim,
    rows: Iterable[OutboxMessage],
    backend: BaseEmailBackend,
    before_final: Callable[[Sequence[UUID]], None],
) -> Iterator[Finished]:
    """Submit rows, lazily taken, and yield what came of each as it ends. Raises what ``before_final`` raised."""
    if isinstance(backend, RobustSMTPEmailBackend) and not _is_overridden(backend):
        yield from _through_pool(claim, rows, backend, before_final)
    else:
        yield from _through_any(claim, rows, backend, before_final)


def _is_overridden(backend: RobustSMTPEmailBackend) -> bool:
    """Tell whether a subclass has put its own in the place of what a pool would pass by."""
    return any(getattr(type(backend), name) is not getattr(RobustSMTPEmailBackend, name) for name in _OVERRIDABLE)


# -- our own backend


def _through_pool(
    claim: Claim,
    rows: Iterable[OutboxMessage],
    backend: RobustSMTPEmailBackend,
    before_final: Callable[[Sequence[UUID]], None],
) -> Iterator[Finished]:
    by_key: dict[object, OutboxMessage] = {}
    unusable: list[Finished] = []

    def source() -> Iterator[Submission]:
        for row in rows:
            try:
                envelope, data = _envelope(claim, row), MailData(content_of(row))
                submission = Submission(envelope, data, key=row.pk, lane=_LANES[row.priority], kind=row.kind)
            except (ValueError, ContentMissing) as exc:
                unusable.append(Finished(row, None, f"it cannot be submitted: {exc}"))
                continue
            by_key[row.pk] = row
            yield submission

    def started(submissions: Sequence[Submission]) -> None:
        before_final([by_key[each.key].pk for each in submissions])

    for submission, report in backend.client().submit_many(
        source(), window=outbox_settings().window, before_final=started
    ):
        yield Finished(by_key.pop(submission.key), report)
        yield from _emptied(unusable)
    yield from _emptied(unusable)


def _emptied(waiting: list[Finished]) -> Iterator[Finished]:
    while waiting:
        yield waiting.pop(0)


def _envelope(claim: Claim, row: OutboxMessage) -> Envelope:
    return Envelope.of(row.reverse_path, _open_to(claim, row))


def _open_to(claim: Claim, row: OutboxMessage) -> list[str]:
    """Return those who are still to have it. Who has accepted is never named again."""
    policy = DoubtPolicy(row.in_doubt)
    return [to.address for to in claim.recipients[row.pk] if is_open(to.standing, policy)]


# -- any other backend


def _through_any(
    claim: Claim,
    rows: Iterable[OutboxMessage],
    backend: BaseEmailBackend,
    before_final: Callable[[Sequence[UUID]], None],
) -> Iterator[Finished]:
    """It has no hook before its end of data, so a mail counts as begun before it is called."""
    endpoint = f"{type(backend).__module__}.{type(backend).__qualname__}"
    for row in rows:
        recipients = _open_to(claim, row)
        try:
            _envelope(claim, row)
            message = stored_message(content_of(row), row.reverse_path, recipients)
            # A backend of our kind, with methods of the project's own, keeps limits and lanes by these.
            vars(message).update(smtp_kind=row.kind, smtp_lane=_LANES[row.priority])
        except (ValueError, ContentMissing) as exc:
            yield Finished(row, None, f"it cannot be submitted: {exc}")
            continue
        before_final([row.pk])
        began = time.monotonic()
        try:
            outcome: object = backend.send_messages([message])
        except Exception as exc:  # noqa: BLE001 - it is somebody else's code; its verdict is made of what it raised
            outcome = exc
        report = _report_on(message, outcome, recipients)
        seconds = time.monotonic() - began
        yield Finished(row, report or coarse_report(recipients, row.message_id, endpoint, seconds, outcome))


def _report_on(message: object, outcome: object, recipients: Sequence[str]) -> SubmissionReport | None:
    """Return the report that a backend of our kind left on the message, or hung on its exception."""
    for holder, name in ((message, "smtp_report"), (outcome, "report")):
        report = getattr(holder, name, None)
        if isinstance(report, SubmissionReport) and set(report.verdicts) == set(recipients):
            return report
    return None

"""A finding for what the engine raised while a step was under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robust_email.doctor.explaining import cause_of_failure, cause_of_reply
from robust_email.doctor.service import recognise
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.opening import SessionUnavailable
from robust_email.smtp.protocol.replies import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit
    from robust_email.smtp.failure import Failure
    from robust_email.smtp.phases import Phase
    from robust_email.smtp.protocol.replies import Reply

_WITH_OCTETS: Final = {"not-smtp", "greeting-silent", "reply-silent"}
"""Causes that look different once it is known that something came in."""

Trouble = (SessionFailure, SessionUnavailable)
"""What a step may raise."""


def trouble(visit: Visit, error: SessionFailure | SessionUnavailable, seconds: float) -> Finding:
    """Name the cause of what was raised."""
    if isinstance(error, SessionFailure):
        return _failed(visit, error.failure, error.__cause__, seconds)
    verdict = error.verdict
    if verdict.reply is not None:
        return refused(visit, verdict.phase, verdict.reply, seconds)
    if verdict.failure is None:
        raise error
    return _failed(visit, verdict.failure, error.__cause__, seconds)


def refused(visit: Visit, phase: Phase, reply: Reply, seconds: float) -> Finding:
    """Name the cause of a reply that is a no."""
    return visit.note(cause_of_reply(phase, reply), f"{phase.value}: {reply}", seconds=seconds)


def _failed(visit: Visit, failure: Failure, error: BaseException | None, seconds: float) -> Finding:
    code = cause_of_failure(failure, error)
    stream = visit.line.stream if visit.line else None
    if stream is not None and stream.received and code in _WITH_OCTETS:
        service = recognise(stream.beginning)
        if service is not None and service.code != "port-speaks-plain":
            found = f"{service.who} answers: {printable(stream.beginning, 80)!r}"
            return visit.note(service.code, found, seconds=seconds)
        if failure.kind is FailureKind.TIMEOUT:
            found = f"{failure.phase.value}: {stream.received} octets in {seconds:.1f} s, and no whole reply"
            return visit.note("reply-dripping", found, seconds=seconds)
    return visit.note(code, f"{failure.phase.value}: {failure.text}", seconds=seconds)


def slowness(visit: Visit, phase: Phase, seconds: float) -> Iterator[Finding]:
    """A finding if the step took too long."""
    if seconds > visit.slow:
        yield visit.note("reply-slow", f"{phase.value}: the reply took {seconds:.1f} s", seconds=seconds)

"""What became of a message, as Django signals.

Each is sent with ``sender`` (the backend's class), ``message`` (the ``EmailMessage``) and ``report`` (the
``SubmissionReport``), once per message for each disposition that at least one of its recipients has: a message that
was accepted for one and refused for another sends both. What a receiver raises is logged by Django and ends there: it
can neither undo a mail nor cause a second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.dispatch import Signal

from robust_email.smtp.events import CircuitClosed, CircuitOpened

if TYPE_CHECKING:
    from django.core.mail import EmailMessage

    from robust_email.smtp import SubmissionReport
    from robust_email.smtp.events import Event

accepted: Final = Signal()
"""The server took responsibility for ``report.accepted``."""
deferred: Final = Signal()
"""The server does not have the message for ``report.deferred``; submitting to these again is safe."""
refused: Final = Signal()
"""The message is refused for good for ``report.refused``."""
in_doubt: Final = Signal()
"""The server may or may not have the message for ``report.in_doubt``."""


relay_given_up: Final = Signal()
"""A relay failed so often in a row that it is tried by one at a time. ``endpoint``, ``reason``; ``sender`` is None."""
relay_returned: Final = Signal()
"""A relay is back: what waits for it may go. ``endpoint``, ``outage`` (seconds); ``sender`` is None. Sent in the one
process whose trial found it well."""


def relay_news(event: Event) -> None:
    """Send the signal that an event of the engine calls for; a listener of the registry."""
    if isinstance(event, CircuitOpened):
        relay_given_up.send_robust(sender=None, endpoint=event.endpoint, reason=event.reason)
    elif isinstance(event, CircuitClosed):
        relay_returned.send_robust(sender=None, endpoint=event.endpoint, outage=event.outage)


def announce(sender: type, message: EmailMessage, report: SubmissionReport) -> None:
    """Send the signals that a report calls for."""
    outcomes = (
        (accepted, report.accepted),
        (deferred, report.deferred),
        (refused, report.refused),
        (in_doubt, report.in_doubt),
    )
    for signal, recipients in outcomes:
        if recipients:
            signal.send_robust(sender=sender, message=message, report=report)

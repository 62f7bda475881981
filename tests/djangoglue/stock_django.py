"""What Django's own SMTP backend hands to smtplib for a message: the measure of a drop-in."""

from __future__ import annotations

from email.utils import parseaddr
from typing import TYPE_CHECKING

from django.core.mail.backends.smtp import EmailBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.mail import EmailMessage


class RecordingConnection:
    """Stands where ``smtplib.SMTP`` stands in Django's backend, and keeps what it was given."""

    def sendmail(self, sender: str, recipients: Sequence[str], octets: bytes) -> None:
        """Keep the last call."""
        # smtplib takes the address out of "Name <address>" by itself (Django 5.2 leaves that to it).
        self.sender = parseaddr(sender)[1]
        self.recipients = [parseaddr(recipient)[1] for recipient in recipients]
        self.octets = octets


def sent_by_django(message: EmailMessage) -> RecordingConnection:
    """Send the message through Django's own SMTP backend."""
    backend = EmailBackend(alias=None)
    connection = RecordingConnection()
    backend.connection = connection  # type: ignore[assignment]  # all that _send() needs of smtplib
    assert backend._send(message)  # type: ignore[attr-defined]  # the hook that Django's send_messages() calls
    return connection

"""A DNS that the demo can switch off: it knows the relay's one name, as long as its zone file is there.

It is plugged in where the library lets applications look at each address before they connect: ``connection_class``.
"""

from __future__ import annotations

import os
import smtplib
import socket
from pathlib import Path

from authentication.core.email_backend import RobustSMTPEmailBackend
from demo import RELAY


class SMTPWithDemoDns(smtplib.SMTP):
    """Looks the relay's name up in the zone file."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        zone = Path(os.environ["DEMO_ZONE"])
        if host == RELAY and not zone.exists():
            raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
        address = zone.read_text() if host == RELAY else host
        return socket.create_connection((address, port), timeout)


class BackendWithDemoDns(RobustSMTPEmailBackend):
    """The service's backend with the demo's DNS."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """Where the library takes its sockets from."""
        return SMTPWithDemoDns

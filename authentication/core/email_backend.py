"""The service's mail backend: the library's, with this service's policy and nothing else."""

from __future__ import annotations

from robust_email.backend import RobustSMTPEmailBackend as LibraryBackend


class RobustSMTPEmailBackend(LibraryBackend):
    """Hands account mails over to the relay. ``settings.py`` names it as ``EMAIL_BACKEND``."""

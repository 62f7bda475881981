"""Hand e-mail over to an SMTP server once, soon, and provably.

This module holds the version and imports nothing: ``robust_email.smtp`` must stay importable where
neither Django nor Celery is installed.
"""

from __future__ import annotations

__version__ = "0.1.0"

"""What an error page or an error mail may show of the settings: no secret, also none inside an URL."""

from __future__ import annotations

import re

from django.views.debug import SafeExceptionReporterFilter


class RedactingReporterFilter(SafeExceptionReporterFilter):
    """Django's own filter, which lets ``CELERY_BROKER_URL`` pass with the password in it, and a little stricter."""

    hidden_settings = re.compile(
        rf"{SafeExceptionReporterFilter.hidden_settings.pattern}|URL|DSN|CODE|CREDENTIAL", re.IGNORECASE
    )

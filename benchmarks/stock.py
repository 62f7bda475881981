"""Django's own SMTP backend, told to trust the benchmark's certificate authority: it has no option for that.

As Django does, it builds the TLS context anew for each backend, which is for each ``send_mail()``.
"""

from __future__ import annotations

import ssl
from typing import Any

from django.core.mail.backends.smtp import EmailBackend
from django.utils.functional import cached_property


class TrustingEmailBackend(EmailBackend):
    """Stock, but for the authority it trusts."""

    def __init__(self, *, cafile: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cafile = cafile

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """The system's authorities, as Django loads them, and ours."""
        context = ssl.create_default_context()
        if self.cafile:
            context.load_verify_locations(self.cafile)
        return context

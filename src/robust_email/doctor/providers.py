"""What is known of some providers' relays: how many connections they allow, what their senders' SPF must include."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Provider:
    """``connections``: at a time for one account; ``None``: not published. ``spf``: the domain to include."""

    name: str
    hosts: tuple[str, ...]
    """Host name suffixes."""
    spf: str | None = None
    connections: int | None = None


PROVIDERS: Final = (
    Provider("Google", ("smtp.gmail.com", "smtp-relay.gmail.com"), "_spf.google.com"),
    # "432 4.3.2 Concurrent connections limit exceeded", https://aka.ms/concurrent_sending
    Provider("Microsoft 365", ("office365.com", "outlook.com"), "spf.protection.outlook.com", 3),
    # http://www.authsmtp.com/faqs/faq-61.html
    Provider("AuthSMTP", ("authsmtp.com",), connections=5),
    Provider("SendGrid", ("sendgrid.net",), "sendgrid.net"),
    Provider("Mailgun", ("mailgun.org",), "mailgun.org"),
)


def provider_of(host: str) -> Provider | None:
    """The provider that a relay belongs to."""
    host = host.lower().rstrip(".")
    for provider in PROVIDERS:
        if any(host == suffix or host.endswith("." + suffix) for suffix in provider.hosts):
            return provider
    return None

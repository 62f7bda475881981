"""A relay named by a URL: ``smtp+starttls://user@mail.example.org:587``.

``smtp://`` is without TLS (port 25), ``smtp+starttls://`` requires STARTTLS (587), ``smtps://`` is TLS from the first
octet (465).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from robust_email.smtp import TlsMode

SCHEMES: Final = {
    "smtp": (TlsMode.NONE, 25),
    "smtp+starttls": (TlsMode.STARTTLS, 587),
    "smtps": (TlsMode.IMPLICIT, 465),
}


@dataclass(frozen=True, slots=True)
class RelayUrl:
    """What such a URL says. ``username`` and ``password`` are decoded, and empty where there are none."""

    mode: TlsMode
    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)


def parse_relay_url(url: str) -> RelayUrl:
    """Read a URL. Raises ``ValueError``, whose text repeats nothing of it but the scheme: it may hold a password."""
    scheme, separator, rest = url.partition("://")
    known = SCHEMES.get(scheme.lower())
    if not separator or known is None:
        raise ValueError(f"a relay is named by a URL: {', '.join(f'{each}://HOST' for each in SCHEMES)}")
    mode, default_port = known
    parts = urlsplit(f"smtp://{rest}")
    try:
        port = parts.port
    except ValueError as exc:
        raise ValueError("the URL's port is no number between 1 and 65535") from exc.__context__
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"the URL must be {scheme}://[USER@]HOST[:PORT] and nothing more")
    return RelayUrl(
        mode,
        parts.hostname,
        default_port if port is None else port,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )

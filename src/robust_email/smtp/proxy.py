"""The proxy on the way to a relay, as a value: SOCKS 5 (RFC 1928) or an HTTP proxy with CONNECT (RFC 9110 9.3.6)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from robust_email.smtp.errors import ConfigurationError

_LONGEST = 255
"""Octets of a user name or password that SOCKS 5 can carry (RFC 1929 2)."""


class ProxyKind(enum.Enum):
    """What is spoken to the proxy. The value is the URL's scheme."""

    SOCKS5 = "socks5"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Who carries the connection. The proxy looks up the relay's name, so this machine needs no DNS for it.

    User name and password cross the network to the proxy in clear: neither protocol encrypts them.
    """

    kind: ProxyKind
    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read ``socks5://user:password@host:port`` or ``http://...``; ``%40`` stands for an ``@`` in a password.

        ``socks5h`` means the same. Raises ``ConfigurationError``, whose text never holds the URL.
        """
        try:
            parts = urlsplit(url.strip())
            port = parts.port
            kind = ProxyKind(parts.scheme.removesuffix("h") if parts.scheme == "socks5h" else parts.scheme)
        except ValueError as exc:
            raise ConfigurationError(f"the proxy {_WANTED}") from exc
        if not parts.hostname or not port or parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigurationError(f"the proxy {_WANTED}")
        proxy = cls(kind, parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or ""))
        if max(len(proxy.username.encode()), len(proxy.password.encode())) > _LONGEST:
            raise ConfigurationError(f"the proxy's user name and password may have {_LONGEST} octets each")
        if ":" in proxy.username or (proxy.password and not proxy.username):
            raise ConfigurationError("the proxy's user name must be there with a password, and hold no colon")
        return proxy

    @property
    def endpoint(self) -> str:
        """``host:port``, as logs and errors name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_WANTED = "must be socks5://user:password@host:port or http://user:password@host:port, with a port"

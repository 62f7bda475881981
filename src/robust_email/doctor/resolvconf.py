"""resolv.conf read as the C library reads it (resolv.conf(5)): name servers, search domains, options."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

MOST_NAMESERVERS: Final = 3
"""That the C library asks (MAXNS)."""
_DEFAULT_NDOTS, _DEFAULT_TIMEOUT, _DEFAULT_ATTEMPTS = 1, 5, 2
_CAPS: Final = {"ndots": 15, "timeout": 30, "attempts": 5}
"""What the C library cuts these options down to."""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """``timeout`` is in seconds, per question and server."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = _DEFAULT_NDOTS
    timeout: int = _DEFAULT_TIMEOUT
    attempts: int = _DEFAULT_ATTEMPTS

    @property
    def asked(self) -> tuple[str, ...]:
        """The name servers that are asked at all."""
        return self.nameservers[:MOST_NAMESERVERS]

    @property
    def loopback(self) -> tuple[str, ...]:
        """Name servers on this machine itself, Docker's own embedded one (127.0.0.11) excepted."""
        return tuple(each for each in self.asked if each != "127.0.0.11" and _is_loopback(each))

    def searched_first(self, host: str) -> tuple[str, ...]:
        """The search domains that are tried before ``host`` as it is: it has too few dots, and none at its end."""
        return () if host.endswith(".") or host.count(".") >= self.ndots else self.search


def parse_resolv_conf(text: str) -> ResolvConf:
    """Read the text; what cannot be read is passed over, as the C library does. The last ``search`` line counts."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: dict[str, int] = {}
    for line in text.splitlines():
        if line[:1] in {"#", ";"}:
            continue
        keyword, *values = line.split()[:64] or [""]
        if keyword == "nameserver" and values and _is_address(values[0]):
            nameservers.append(values[0])
        elif keyword in {"search", "domain"} and values:
            search = tuple(name.rstrip(".") for name in values if name.rstrip("."))
        elif keyword == "options":
            options |= _numbers(values)
    return ResolvConf(
        tuple(nameservers),
        search,
        ndots=options.get("ndots", _DEFAULT_NDOTS),
        timeout=options.get("timeout", _DEFAULT_TIMEOUT),
        attempts=options.get("attempts", _DEFAULT_ATTEMPTS),
    )


def _numbers(options: list[str]) -> dict[str, int]:
    found = {}
    for option in options:
        name, _, number = option.partition(":")
        if name in _CAPS and number.isascii() and number.isdecimal() and len(number) < 6:  # noqa: PLR2004 - sane
            found[name] = min(int(number), _CAPS[name])
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback

"""From a configuration to a connected stream: resolve, connect, and TLS where it begins with the first octet."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from robust_email.smtp.config import TlsMode
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.net.deadline import Clock, Deadline
from robust_email.smtp.net.failures import failure_of
from robust_email.smtp.net.race import EveryAddressFailed, connect_first, interleave
from robust_email.smtp.net.resolver import SocketAddress, shared_resolver
from robust_email.smtp.net.stream import Stream
from robust_email.smtp.net.tls import context_for
from robust_email.smtp.net.tunnel import pass_through
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    import ssl

    from robust_email.smtp.config import SmtpConfig
    from robust_email.smtp.failure import Failure
    from robust_email.smtp.net.resolver import Resolver

OpenSocket = Callable[[str, int, float], socket.socket]
"""``(host, port, seconds) -> connected socket``: replaces look-up and connect, for those who must see each address."""

_TELLING = {FailureKind.RESET: 1, FailureKind.TIMEOUT: 2, FailureKind.CONNECTION_REFUSED: 3}
"""Of several addresses' failures the highest here is reported: that there is no IPv6 route says little."""


class Connector:
    """Connects to one relay. Holds nothing open; thread-safe.

    ``on_stale(age)`` is told when DNS failed and addresses from ``age`` seconds ago are being used, and
    ``on_timed(phase, seconds)`` when a phase has ended well.
    """

    def __init__(
        self,
        config: SmtpConfig,
        *,
        resolver: Resolver | None = None,
        clock: Clock = time.monotonic,
        open_socket: OpenSocket | None = None,
        on_stale: Callable[[float], None] | None = None,
        on_timed: Callable[[Phase, float], None] | None = None,
    ) -> None:
        """Look nothing up yet. ``clock`` is that of the deadlines handed to ``connect``."""
        self._config = config
        self._resolver = resolver or shared_resolver(config.dns)
        self._clock = clock
        self._open_socket = open_socket
        self._on_stale = on_stale
        self._on_timed = on_timed

    def connect(self, deadline: Deadline | None = None) -> Stream:
        """Return a stream to the relay; with implicit TLS (RFC 8314), encrypted and verified.

        Raises:
            SessionFailure: phase ``RESOLVE``, ``CONNECT`` or ``TLS``; its ``__cause__`` is the socket's error.
        """
        deadline = deadline or Deadline.after(self._config.timeouts.opening, self._clock)
        # Before the network: a file that cannot be read is known at once. Required STARTTLS needs it as much.
        tls = self._config.tls
        context = None if tls.mode is TlsMode.NONE else self._config.tls_context or context_for(tls)
        stream = self._stream(deadline)
        if context is not None and self._config.tls.mode is TlsMode.IMPLICIT:
            self._encrypt(stream, context, deadline)
        return stream

    def _encrypt(self, stream: Stream, context: ssl.SSLContext, deadline: Deadline) -> None:
        began = self._clock()
        try:
            stream.start_tls(context, deadline)
        except (OSError, ValueError) as error:
            stream.abort()
            raise SessionFailure(failure_of(error, Phase.TLS, self._config.endpoint)) from error
        except BaseException:
            stream.abort()
            raise
        self._ended(Phase.TLS, began)

    def _stream(self, deadline: Deadline) -> Stream:
        """Connect in the clear: to the relay itself, or to the proxy and through it."""
        config, proxy = self._config, self._config.proxy
        if proxy is None:
            return Stream(self._socket(config.host, config.port, config.endpoint, deadline), config.host)
        label = f"{config.endpoint} through the proxy {proxy.endpoint}"
        stream = Stream(self._socket(proxy.host, proxy.port, label, deadline), config.host, tunnelled=True)
        began = self._clock()
        try:
            pass_through(stream, proxy, config.host, config.port, deadline)
        except (OSError, EOFError) as error:
            stream.abort()
            raise SessionFailure(failure_of(error, Phase.CONNECT, label)) from error
        except BaseException:
            stream.abort()
            raise
        self._ended(Phase.CONNECT, began)
        return stream

    def _socket(self, host: str, port: int, label: str, deadline: Deadline) -> socket.socket:
        config, began = self._config, self._clock()
        if self._open_socket is not None:
            try:
                sock = self._open_socket(host, port, deadline.remaining())
            except OSError as error:
                failure = failure_of(error, Phase.CONNECT, label)
                if error.errno is None and error.args:  # a guard's own words, which say whom it refused and why
                    failure = replace(failure, text=f"{label}: {error}")
                raise SessionFailure(failure) from error
            self._ended(Phase.CONNECT, began)
            return sock
        answer = self._resolver.resolve(host, port, deadline.within(config.timeouts.dns))
        if answer.stale_age is not None and self._on_stale is not None:
            self._on_stale(answer.stale_age)
        began = self._ended(Phase.RESOLVE, began)
        addresses = interleave(_of_same_family(answer.addresses, config.source_address))
        try:
            sock = connect_first(addresses, deadline, config.source_address)
        except EveryAddressFailed as error:
            failure, cause = _most_telling(error, label, answer.stale_age)
            raise SessionFailure(failure) from cause
        self._ended(Phase.CONNECT, began)
        return sock

    def _ended(self, phase: Phase, began: float) -> float:
        now = self._clock()
        if self._on_timed is not None:
            self._on_timed(phase, now - began)
        return now


def _most_telling(error: EveryAddressFailed, label: str, stale_age: float | None) -> tuple[Failure, OSError]:
    found = [(failure_of(reason, Phase.CONNECT, label), reason) for _, reason in error.tried]
    failure, cause = max(found, key=lambda pair: _TELLING.get(pair[0].kind, 0))
    text = f"{failure.text} [{error if len(found) > 1 else error.tried[0][0]}]"
    if stale_age is not None:
        text += f" [the addresses are from {stale_age:.0f} s ago: DNS fails now]"
    return replace(failure, text=text), cause


def _of_same_family(addresses: tuple[SocketAddress, ...], source: str | None) -> tuple[SocketAddress, ...]:
    """Without those that the source address can never reach, unless that leaves none: then the attempt says why."""
    try:
        version = ipaddress.ip_address(source or "").version
    except ValueError:
        return addresses
    family = socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004 - the version is its own name
    return tuple(address for address in addresses if address.family == family) or addresses

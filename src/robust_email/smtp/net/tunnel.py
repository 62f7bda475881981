"""A way through a proxy: what is said to it before the relay's own octets flow.

A handshake is a generator without I/O: it yields octets to write, or a number, and is sent that many octets. It never
asks for more than belongs to it, since the relay's greeting follows the proxy's last octet at once.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from robust_email.smtp.failure import Failure, FailureKind, SessionFailure
from robust_email.smtp.phases import Phase
from robust_email.smtp.proxy import Proxy, ProxyKind

if TYPE_CHECKING:
    from robust_email.smtp.net.bytestream import ByteStream
    from robust_email.smtp.net.deadline import Deadline

Handshake = Generator[bytes | int, bytes, None]

MAX_HEAD: Final = 8192
"""Octets of an HTTP proxy's answer."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r\n)")
_SOCKS: Final = 5
_NO_LOGIN, _PASSWORD, _NONE_ACCEPTABLE = 0, 2, 0xFF
_IPV4, _NAME, _IPV6 = 1, 3, 4

_SOCKS_REPLIES: Final = {
    1: (FailureKind.RESET, "had a general failure"),
    2: (FailureKind.LOCAL, "does not allow this connection by its rules"),
    3: (FailureKind.UNREACHABLE, "finds no way to that network"),
    4: (FailureKind.UNREACHABLE, "finds no way to that host (or does not know its name)"),
    5: (FailureKind.CONNECTION_REFUSED, "was refused by that host"),
    6: (FailureKind.TIMEOUT, "had no answer from that host in time"),
    7: (FailureKind.LOCAL, "does not make connections for others (command not supported)"),
    8: (FailureKind.LOCAL, "does not know this type of address"),
}
"""RFC 1928 6."""
_HTTP_REPLIES: Final = {
    403: (FailureKind.LOCAL, "does not allow this connection by its rules"),
    405: (FailureKind.LOCAL, "does not allow CONNECT"),
    407: (FailureKind.LOCAL, "refused the user name and password in EMAIL_PROXY, or wants some"),
    502: (FailureKind.UNREACHABLE, "finds no way to that host"),
    503: (FailureKind.UNREACHABLE, "is not available now"),
    504: (FailureKind.TIMEOUT, "had no answer from that host in time"),
}


class ProxyTrouble(Exception):
    """The proxy does not let us through; the text completes "the proxy ..."."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def handshake(proxy: Proxy, host: str, port: int) -> Handshake:
    """Return what to say to this proxy for a way to a relay."""
    speak = _socks5 if proxy.kind is ProxyKind.SOCKS5 else _http_connect
    return speak(proxy, host.rstrip("."), port)


def pass_through(stream: ByteStream, proxy: Proxy, host: str, port: int, deadline: Deadline) -> None:
    """Go through the handshake; afterwards the stream's next octet is the relay's.

    Raises ``SessionFailure`` for what the proxy says, and what the stream raises (``OSError``, ``EOFError``).
    """
    steps = handshake(proxy, host, port)
    try:
        step = next(steps)
        while True:
            answer = _write(stream, step, deadline) if isinstance(step, bytes) else _read(stream, step, deadline)
            step = steps.send(answer)
    except StopIteration:
        return
    except ProxyTrouble as exc:
        text = f"{host}:{port}: the proxy {proxy.endpoint} {exc}"
        raise SessionFailure(Failure(exc.kind, Phase.CONNECT, text)) from exc


def _write(stream: ByteStream, octets: bytes, deadline: Deadline) -> bytes:
    while octets:
        taken = stream.write_some(octets)
        octets = octets[taken:]
        if not taken:
            stream.wait(read=False, write=True, deadline=deadline)
    return b""


def _read(stream: ByteStream, count: int, deadline: Deadline) -> bytes:
    found = b""
    while len(found) < count:
        octets = stream.read_some(count - len(found))
        if octets is None:
            stream.wait(read=True, write=False, deadline=deadline)
        elif not octets:
            raise EOFError
        else:
            found += octets
    return found


def _socks5(proxy: Proxy, host: str, port: int) -> Handshake:
    """RFC 1928, with the user name and password of RFC 1929."""
    methods = bytes([_NO_LOGIN, _PASSWORD] if proxy.username else [_NO_LOGIN])
    yield bytes([_SOCKS, len(methods)]) + methods
    version, method = yield 2
    if version != _SOCKS:
        raise ProxyTrouble(FailureKind.GARBAGE, "does not speak SOCKS 5")
    if method == _PASSWORD and proxy.username:
        yield from _socks5_login(proxy)
    elif method == _NONE_ACCEPTABLE:
        raise ProxyTrouble(FailureKind.LOCAL, "wants a log-in that EMAIL_PROXY does not have")
    elif method != _NO_LOGIN:
        raise ProxyTrouble(FailureKind.GARBAGE, "chose a way to log in that was not offered")
    yield bytes([_SOCKS, 1, 0]) + _socks5_address(host) + port.to_bytes(2)
    version, code, _, kind = yield 4
    if version != _SOCKS:
        raise ProxyTrouble(FailureKind.GARBAGE, "answered with something else than SOCKS 5")
    if code:
        raise ProxyTrouble(*_SOCKS_REPLIES.get(code, (FailureKind.RESET, f"failed with the unknown code {code}")))
    lengths = {_IPV4: 4, _IPV6: 16}
    if kind not in {*lengths, _NAME}:
        raise ProxyTrouble(FailureKind.GARBAGE, "answered with an unknown type of address")
    length = lengths[kind] if kind in lengths else (yield 1)[0]
    yield length + 2  # where it is bound, which nobody needs to know


def _socks5_login(proxy: Proxy) -> Handshake:
    name, password = proxy.username.encode(), proxy.password.encode()
    yield b"\x01" + bytes([len(name)]) + name + bytes([len(password)]) + password
    _, status = yield 2
    if status:
        raise ProxyTrouble(FailureKind.LOCAL, "refused the user name and password in EMAIL_PROXY")


def _socks5_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = _ascii(host)
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed  # noqa: PLR2004 - the version is its own name


def _http_connect(proxy: Proxy, host: str, port: int) -> Handshake:
    target = b"[%b]:%d" % (host.encode(), port) if ":" in host else b"%b:%d" % (_ascii(host), port)
    request = [b"CONNECT %b HTTP/1.1" % target, b"Host: " + target]
    if proxy.username:
        login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode())
        request.append(b"Proxy-Authorization: Basic " + login)
    yield b"\r\n".join([*request, b"", b""])
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if len(head) >= MAX_HEAD:
            raise ProxyTrouble(FailureKind.GARBAGE, "answered without end")
        head += yield 1  # the relay's greeting may be right behind, and cannot be given back
    status = _STATUS_LINE.match(head)
    if status is None:
        raise ProxyTrouble(FailureKind.GARBAGE, "does not speak HTTP")
    code = int(status[1])
    if not 200 <= code < 300:  # noqa: PLR2004 - RFC 9110 9.3.6: any 2xx
        raise ProxyTrouble(*_HTTP_REPLIES.get(code, (FailureKind.RESET, f"answered CONNECT with HTTP status {code}")))


def _ascii(host: str) -> bytes:
    try:
        name = host.encode("idna")
    except UnicodeError as exc:
        raise ProxyTrouble(FailureKind.LOCAL, "cannot be told this host name") from exc
    return name

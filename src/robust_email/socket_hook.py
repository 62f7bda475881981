"""An overridden ``connection_class`` as the engine's way to make sockets.

Projects guard against requests to their private network (SSRF) by a subclass of ``smtplib.SMTP`` whose
``_get_socket()`` looks at the addresses before it connects. The engine speaks SMTP itself, yet asks that method for
every socket, so the guard stands. Other methods of such a class (``data()``, ``sendmail()``) are not called: what
became of a message is in ``message.smtp_report``.
"""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    OpenSocket = Callable[[str, int, float], socket.socket]

_HOOK = "_get_socket"


def has_socket_hook(connection_class: object) -> bool:
    """Tell whether this is an smtplib class with a ``_get_socket()`` of its own."""
    if not (isinstance(connection_class, type) and issubclass(connection_class, smtplib.SMTP)):
        return False
    return getattr(connection_class, _HOOK) not in {getattr(smtplib.SMTP, _HOOK), getattr(smtplib.SMTP_SSL, _HOOK)}


def overridden_methods(connection_class: object) -> tuple[str, ...]:
    """Name what such a class overrides in smtplib and the engine does not call, for the system check."""
    if not (isinstance(connection_class, type) and issubclass(connection_class, smtplib.SMTP)):
        return ()
    known = {name for name in dir(smtplib.SMTP_SSL) if not name.startswith("__")} - {_HOOK}
    own = [each for each in connection_class.__mro__ if each not in smtplib.SMTP_SSL.__mro__]
    return tuple(sorted({name for each in own for name in vars(each) if name in known and callable(vars(each)[name])}))


def open_socket_by(connection_class: type[smtplib.SMTP], local_address: str | None) -> OpenSocket:
    """Return a function that connects as ``connection_class`` does, for each connection anew."""
    source = (local_address, 0) if local_address else None

    def open_socket(host: str, port: int, timeout: float) -> socket.socket:
        arguments: dict[str, Any] = {"timeout": timeout, "source_address": source, "local_hostname": "localhost"}
        if issubclass(connection_class, smtplib.SMTP_SSL):
            arguments["context"] = _LeaveTlsToTheEngine()
        connection: Any = connection_class(**arguments)  # without a host, smtplib connects to nothing
        connection._host = host  # noqa: SLF001 - smtplib's own, which SMTP_SSL hands to wrap_socket()
        made: socket.socket = getattr(connection, _HOOK)(host, port, timeout)
        return made

    return open_socket


class _LeaveTlsToTheEngine:
    """Stands for the ``SSLContext`` that ``SMTP_SSL._get_socket()`` wraps with; the engine does that, and verifies."""

    def wrap_socket(self, sock: socket.socket, **_: object) -> socket.socket:
        return sock

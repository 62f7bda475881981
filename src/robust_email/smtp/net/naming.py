"""Our own name at EHLO, found without asking the DNS: in a container that question can take seconds."""

from __future__ import annotations

import re
import socket

_QUALIFIED = re.compile(r"(?=.{1,255}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9-]*[A-Za-z0-9]")


def ehlo_name(own_address: str) -> str:
    """This machine's name if it is a fully qualified one, else its address literal (RFC 5321 4.1.4).

    ``own_address`` is the socket's own end, such as ``172.18.0.3``; empty gives ``[127.0.0.1]``.
    """
    name = socket.gethostname()
    if _QUALIFIED.fullmatch(name):
        return name
    if ":" in own_address:
        return f"[IPv6:{own_address}]"
    return f"[{own_address or '127.0.0.1'}]"

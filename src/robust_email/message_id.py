"""The right-hand side of a Message-ID (RFC 5322 3.6.4), without waiting for a dead resolver.

Django writes its host's full name there, which it asks of DNS once per process: ``socket.getfqdn()``, which no time-out
bounds. In a container whose resolver does not answer, the first mail would wait 10 to 20 seconds for the name of a
header. Here the question is asked in a thread; who needs the answer waits at most ``LONGEST_WAIT`` for it, in total and
once per process. Until it is there, new Message-IDs carry the host's own name instead, for which nobody is asked.
"""

from __future__ import annotations

import copy
import os
import socket
import threading
import time
from email.utils import make_msgid
from typing import TYPE_CHECKING, Final

from django.core.mail.utils import DNS_NAME
from django.utils.encoding import punycode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.mail import EmailMessage

LONGEST_WAIT: Final = 1.0
"""Seconds."""


class HostNameLookup:
    """One question to DNS, asked by ``DNS_NAME`` (Django's cache) in a daemon thread.

    There is no lock, so that a fork cannot leave one locked. Two threads that ask at the same moment ask twice, as
    they do in Django.
    """

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._asked_by: int | None = None
        self._patience_ends = 0.0

    def is_answered(self) -> bool:
        """Ask if need be, wait a little the first time, and tell whether ``str(DNS_NAME)`` now returns at once."""
        if self._answered.is_set():
            return True
        if self._asked_by != os.getpid():  # a forked child has not got its parent's thread
            self._answered = threading.Event()
            self._patience_ends = time.monotonic() + LONGEST_WAIT
            self._asked_by = os.getpid()
            threading.Thread(target=self._ask, args=(self._answered,), name="host name", daemon=True).start()
        return self._answered.wait(max(0.0, self._patience_ends - time.monotonic()))

    @staticmethod
    def _ask(answered: threading.Event) -> None:
        try:
            DNS_NAME.get_fqdn()
        except (OSError, UnicodeError):
            return  # a name that cannot be a domain: the host's own name serves
        answered.set()


_lookup = HostNameLookup()


def with_bounded_message_id(message: EmailMessage, domain: str | None) -> EmailMessage:
    """Return a message whose ``message()`` does not wait for DNS; mostly the same object.

    Args:
        message: it is not changed.
        domain: what follows the ``@`` in a new Message-ID; None means Django's choice, where that is known in time.
    """
    if has_header(message, "message-id") or (domain is None and _lookup.is_answered()):
        return message
    return with_first_headers(message, {"Message-ID": make_msgid(domain=domain or punycode(socket.gethostname()))})


def has_header(message: EmailMessage, name: str) -> bool:
    """Tell whether the application set this header itself. ``name`` is in lower case."""
    return any(key.lower() == name for key in message.extra_headers)


def with_first_headers(message: EmailMessage, headers: Mapping[str, str]) -> EmailMessage:
    """Return a shallow copy with these headers ahead of the application's own: where Django would put them."""
    copied = copy.copy(message)
    copied.extra_headers = {**headers, **message.extra_headers}
    return copied

r"""A testing kit for everything that submits mail over SMTP: a real server that misbehaves to order.

    >>> import smtplib
    >>> from robust_email.testing import At, Fault, Reply, Script, ScriptedServer
    >>> later = Fault(At.RCPT, Reply("451 4.7.1 come back later"), subject="bob", times=1)
    >>> with ScriptedServer(Script(faults=[later])) as server, smtplib.SMTP(server.host, server.port) as client:
    ...     client.sendmail("shop@example.org", ["alice@example.org", "bob@example.org"], b"Subject: hi\r\n\r\nhi\r\n")
    {'bob@example.org': (451, b'4.7.1 come back later')}
    >>> [message.forward_paths for message in server.accepted]
    [('alice@example.org',)]

What is where:

* :class:`ScriptedServer`, described by a :class:`Script`: its :class:`Extensions`, :class:`Limits`, :class:`Quirks`,
  accounts and TLS. A context manager; ``host`` and ``port`` to connect to; ``accepted``, ``transcripts``,
  ``connections``, ``commands`` and ``wait_for`` to look at; ``add_fault``, ``clear_faults`` and ``act`` to interfere.
* Faults as data: :class:`Fault` says when (:class:`At`), where and how often, the action says what: :class:`Reply`,
  :class:`Close`, :class:`Reset`, :class:`Stall`, :class:`Drip`, :class:`Garbage`, :class:`Flood`, :class:`Inject`,
  :class:`Extra`, :class:`TlsGarbage`, :class:`TakeThenClose`, :class:`TakeThenStall`, :class:`CloseAfterBytes`.
* :class:`AcceptedMessage` and :class:`Transcript`: the server's own account. Accepted means that the server took
  responsibility, whether or not its reply got through.
* :func:`parse_wire`: read what a client wrote as a strict and as a lenient server does, to prove it smuggles nothing.
* ``robust_email.testing.certs``: ``CertificateAuthority``, with good and bad certificates (needs ``trustme``).
* ``robust_email.testing.proxy``: ``CuttableProxy``, a TCP proxy that cuts byte-exactly, refuses, goes deaf, and delays.
* ``robust_email.testing.clock``: ``FakeClock``.
* ``robust_email.testing.assertions``: ``assert_accepted_once``.
* ``robust_email.testing.pytest_plugin``: the fixtures ``smtp_server``, ``smtp_faults`` and ``smtp_certs``.
* ``python -m robust_email.testing --port 1025``: the server as a mail catcher in a terminal.

Nothing in the library imports this package, and this package imports nothing of the library: what it says about the
engine is a second opinion. It needs no Django and, ``certs`` and ``pytest_plugin`` apart, only the standard library.
"""

from __future__ import annotations

from robust_email.testing.faults import (
    Action,
    At,
    Close,
    CloseAfterBytes,
    Drip,
    Extra,
    Fault,
    Flood,
    Garbage,
    Inject,
    Reply,
    Reset,
    Stall,
    TakeThenClose,
    TakeThenStall,
    TlsGarbage,
)
from robust_email.testing.ledger import AcceptedMessage, Transcript
from robust_email.testing.script import EndOfData, Extensions, Limits, Quirks, Script
from robust_email.testing.scripted import ScriptedServer
from robust_email.testing.wire import WireMessage, parse_wire

__all__ = [
    "AcceptedMessage",
    "Action",
    "At",
    "Close",
    "CloseAfterBytes",
    "Drip",
    "EndOfData",
    "Extensions",
    "Extra",
    "Fault",
    "Flood",
    "Garbage",
    "Inject",
    "Limits",
    "Quirks",
    "Reply",
    "Reset",
    "Script",
    "ScriptedServer",
    "Stall",
    "TakeThenClose",
    "TakeThenStall",
    "TlsGarbage",
    "Transcript",
    "WireMessage",
    "parse_wire",
]

"""``python -m robust_email.testing``: a mail catcher in a terminal, that misbehaves if asked to.

Takes every mail, relays none, and writes a line for each message it accepted and each connection that ended without.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING

from robust_email.testing.notation import parse_fault
from robust_email.testing.script import Script
from robust_email.testing.scripted import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from robust_email.testing.ledger import AcceptedMessage


LAST_REPLY = 2.0
"""Seconds for the clients to leave by themselves once enough messages came."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        try:
            script, note = _script(options, Path(folder))
        except (ImportError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            return 2
        with ScriptedServer(script, port=options.port) as server:
            _say(f"listening on {server.host}:{server.port}{note}; interrupt to end")
            _report(server, options.messages)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m robust_email.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=1025, help="0 takes a free one")
    parser.add_argument("--tls", choices=["none", "starttls", "implicit"], nargs="?", const="starttls", default="none")
    parser.add_argument("--user", metavar="NAME:PASSWORD", action="append", default=[], help="offer AUTH to this user")
    parser.add_argument(
        "--fault",
        "--faults",
        metavar="MOMENT[/SUBJECT][*TIMES]=ACTION",
        action="extend",
        nargs="+",
        default=[],
        help="'RCPT=451 4.7.1 later', 'FINAL*1=close', 'RCPT/bob@=stall'",
    )
    parser.add_argument("--messages", type=int, help="end after so many accepted messages")
    return parser


def _script(options: argparse.Namespace, folder: Path) -> tuple[Script, str]:
    """Return the script and a note for the first line; raises ImportError and ValueError with a readable text."""
    faults = [parse_fault(text) for text in options.fault]
    accounts = dict(user.split(":", 1) for user in options.user)
    if options.tls == "none":
        return Script(faults=faults, accounts=accounts), ""
    from robust_email.testing.certs import CertificateAuthority

    authority = CertificateAuthority(folder)
    context = authority.server_context()
    note = f", {options.tls} TLS, trust {authority.ca_file}"
    if options.tls == "implicit":
        return Script(faults=faults, accounts=accounts, implicit_tls=context), note
    return Script(faults=faults, accounts=accounts, starttls=context), note


def _report(server: ScriptedServer, limit: int | None) -> None:
    """Write a line per accepted message until interrupted or ``limit`` is reached."""
    shown = 0
    try:
        while limit is None or shown < limit:
            server.wait_for(_has_more_than(shown), timeout=threading.TIMEOUT_MAX)
            for message in server.accepted[shown:]:
                _say(_line(message))
                shown += 1
        with contextlib.suppress(TimeoutError):  # the last client is to have its reply
            server.wait_for(_has_said_all, timeout=LAST_REPLY)
    except KeyboardInterrupt:
        _say(f"{shown} accepted, {server.connections} connections")


def _has_more_than(count: int) -> Callable[[ScriptedServer], bool]:
    return lambda server: len(server.accepted) > count


def _has_said_all(server: ScriptedServer) -> bool:
    return all(transcript.closed for transcript in server.transcripts)


def _line(message: AcceptedMessage) -> str:
    subject = message_from_bytes(message.data, policy=policy.default)["subject"] or "(no subject)"
    recipients = ", ".join(message.forward_paths)
    return (
        f"{message.order:>4}  {message.reverse_path or '<>'} -> {recipients}  {subject!s}  "
        f"{len(message.data)} octets{'  TLS' if message.encrypted else ''}"
    )


def _say(line: str) -> None:
    printable = "".join(each if each.isprintable() else "?" for each in line)
    sys.stdout.write(f"{printable}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

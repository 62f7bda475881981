"""OpenSMTPD: neither PIPELINING nor CHUNKING, 452 after a hundred mails in a session.

It insists on its own folders and users, which it gets as tmpfs in a mount namespace. It relays what it takes to a
scripted server, whose books are the ledger. Recipients whose local part begins with ``bad`` get a 550.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from robust_email.testing import ScriptedServer
from tests.servers.running import (
    RunningServer,
    ServerTls,
    Taken,
    reserved_port,
    server_folder,
    text_of,
    wait_until_it_greets,
)
from tests.servers.unpacked import namespace, unpacked_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONFIGURATION = """\
{limits}
listen on 127.0.0.1 port {port} hostname opensmtpd.test
action "sink" relay host "smtp://127.0.0.1:{sink}"
match from any for rcpt-to regex "^bad" reject
match from any for any action "sink"
"""

_FOLDERS = """\
mount -t tmpfs none /var/spool && mount -t tmpfs none /var/lib && mount -t tmpfs none /run || exit 70
mkdir -p /var/spool/smtpd /var/lib/opensmtpd/empty
chmod 711 /var/spool/smtpd
"""


@contextlib.contextmanager
def opensmtpd(
    *,
    tls: ServerTls | None = None,
    accounts: Mapping[str, str] | None = None,
    max_mails: int | None = None,
) -> Iterator[RunningServer]:
    """Run OpenSMTPD in clear text; ``max_mails`` per session instead of 100.

    Raises :exc:`ValueError` for TLS and accounts: Debian's 6.8 answers every handshake with an internal error, as its
    key-keeping process does not get along with OpenSSL 3.
    """
    if tls or accounts:
        raise ValueError("OpenSMTPD runs in clear text and without accounts here")
    program = unpacked_program("OpenSMTPD", "usr/sbin/smtpd")
    with server_folder("opensmtpd") as folder, reserved_port() as port, ScriptedServer() as sink:
        output = folder / "output"
        text = _configuration(port, sink.port, max_mails)
        (folder / "smtpd.conf").write_text(text, "utf-8")
        (folder / "smtpd.conf").chmod(0o600)
        space = namespace("OpenSMTPD", folder, ["opensmtpd", "opensmtpq"], _FOLDERS)
        with space.running([str(program), "-d", "-f", str(folder / "smtpd.conf")], output) as is_alive:
            wait_until_it_greets("OpenSMTPD", port, lambda: text_of(output), is_alive)
            yield RunningServer(
                name="OpenSMTPD",
                port=port,
                read_ledger=lambda: _read_ledger(sink),
                read_log=lambda: text_of(output),
            )


def _configuration(port: int, sink: int, max_mails: int | None) -> str:
    limits = "" if max_mails is None else f"smtp limit max-mails {max_mails}"
    return _CONFIGURATION.format(limits=limits, port=port, sink=sink)


def _read_ledger(sink: ScriptedServer) -> list[Taken]:
    return [(path, message.message_id) for message in sink.accepted for path in message.forward_paths]

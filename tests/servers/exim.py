"""Exim in a folder of its own: PIPELINING, CHUNKING, PIPECONNECT; whatever it takes stays in its queue.

Recipients whose local part begins with ``bad`` get 550 and with ``temp`` 451. The ledger is the main log, in which a
message that was taken has a ``<=`` line with its id and its recipients.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from tests.servers.running import (
    RunningServer,
    ServerTls,
    Taken,
    reserved_port,
    server_folder,
    text_of,
    wait_until_it_greets,
)
from tests.servers.unpacked import FIRST_ID, namespace, unpacked_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_TAKEN = re.compile(r"^\S+ \S+ \S+ <= (?P<words>.*?) for (?P<recipients>.*)$", re.MULTILINE)
_ID = re.compile(r"(?:^| )id=(\S+)")

_CONFIGURATION = """\
primary_hostname = exim.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
chunking_advertise_hosts = *
pipelining_advertise_hosts = *
dsn_advertise_hosts = *
queue_only = true
host_lookup =
never_users =
rfc1413_query_timeout = 0s
check_spool_space = 0
check_log_space = 0
log_selector = +received_recipients
smtp_accept_max = 0
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept
{settings}
begin acl
check_rcpt:
  deny local_parts = ^bad
       message = 5.1.1 no such user here
  defer local_parts = ^temp
       message = 4.7.1 come back later
  accept
begin routers
blackhole:
  driver = redirect
  data = :blackhole:
begin authenticators
{authenticators}
"""

_AUTHENTICATORS = """\
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if eq{{$auth3}}{{${{lookup{{$auth2}}lsearch{{{folder}/accounts}}{{$value}}fail}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if eq{{$auth2}}{{${{lookup{{$auth1}}lsearch{{{folder}/accounts}}{{$value}}fail}}}}}}
  server_set_id = $auth1
"""


@contextlib.contextmanager
def exim(
    *,
    tls: ServerTls | None = None,
    accounts: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[RunningServer]:
    """Run Exim; ``settings`` are main options, such as ``smtp_accept_max_nonmail``."""
    program = unpacked_program("Exim", "usr/sbin/exim4")
    with server_folder("exim") as folder, reserved_port() as port:
        log = folder / "log" / "mainlog"
        _write_configuration(folder, port, tls, accounts or {}, settings or {})
        space = namespace("Exim", folder, ["Debian-exim"])
        command = [str(program), "-C", str(folder / "exim.conf"), "-bdf"]
        with space.running(command, folder / "output") as is_alive:

            def read_log() -> str:
                return "".join(text_of(folder / name) for name in ("output", "log/paniclog", "log/mainlog"))

            wait_until_it_greets("Exim", port, read_log, is_alive)
            yield RunningServer(
                name="Exim",
                port=port,
                tls=tls,
                accounts=accounts or {},
                read_ledger=lambda: _read_ledger(text_of(log)),
                read_log=read_log,
            )


def _write_configuration(
    folder: Path, port: int, tls: ServerTls | None, accounts: Mapping[str, str], settings: Mapping[str, str]
) -> None:
    options = dict(settings)
    options["tls_advertise_hosts"] = "*" if tls else ""
    if tls:
        options["tls_certificate"] = _readable(folder, tls.chain)
        options["tls_privatekey"] = _readable(folder, tls.key)
        if tls.implicit:
            options["tls_on_connect_ports"] = str(port)
        elif accounts:
            options["auth_advertise_hosts"] = "${if eq{$tls_in_cipher}{}{}{*}}"
    for name in ("spool", "log"):
        (folder / name).mkdir()
        os.chown(folder / name, FIRST_ID, FIRST_ID)
    lines = "".join(f"{user}: {password}\n" for user, password in accounts.items())
    (folder / "accounts").write_text(lines, "utf-8")
    text = _CONFIGURATION.format(
        folder=folder,
        port=port,
        settings="\n".join(f"{name} = {value}" for name, value in options.items()),
        authenticators=_AUTHENTICATORS.format(folder=folder) if accounts else "",
    )
    (folder / "exim.conf").write_text(text, "utf-8")


def _readable(folder: Path, source: Path) -> str:
    """Copy a PEM file to where Exim's user can read it."""
    copy = folder / source.name
    copy.write_bytes(source.read_bytes())
    os.chown(copy, FIRST_ID, FIRST_ID)
    copy.chmod(0o600)
    return str(copy)


def _read_ledger(log: str) -> list[Taken]:
    taken = []
    for entry in _TAKEN.finditer(log):
        found = _ID.search(entry["words"])
        message_id = f"<{found[1]}>" if found else ""
        taken += [(recipient, message_id) for recipient in entry["recipients"].split()]
    return taken

"""Postfix in a folder of its own: PIPELINING, CHUNKING, SIZE, SMTPUTF8, DSN; every mail ends in its discard transport.

Recipients whose local part begins with ``bad`` get 550 and with ``temp`` 451. The ledger is the maillog: ``cleanup``
names the Message-ID of a queue id, and ``discard`` the recipients that were taken with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
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
from tests.services import require_program, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_REALM = "postfix.test"
_MESSAGE_ID = re.compile(r"cleanup\[\d+\]: (\w+): message-id=(<[^>]*>)")
_DISCARDED = re.compile(r"discard\[\d+\]: (\w+): to=<([^>]*)>.*status=sent")

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = postfix.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
local_recipient_maps =
default_transport = discard
relay_transport = discard
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access regexp:{folder}/recipients, permit_mynetworks, reject
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtputf8_enable = yes
"""

_STRICT = """\
smtpd_forbid_unauth_pipelining = yes
smtpd_forbid_bare_newline = yes
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_helo_required = yes
strict_rfc821_envelopes = yes
"""

_TLS = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {chain}
smtpd_tls_auth_only = yes
smtpd_tls_wrappermode = {implicit}
"""

_AUTH = """\
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {folder}/etc/sasl
smtpd_sasl_local_domain = {realm}
"""

_SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/etc/sasl/sasldb2
mech_list: PLAIN LOGIN CRAM-MD5
"""

_MASTER = """\
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

_RECIPIENTS = """\
/^bad/ 550 5.1.1 no such user here
/^temp/ 451 4.7.1 come back later
"""


@contextlib.contextmanager
def postfix(
    *,
    strict: bool = False,
    tls: ServerTls | None = None,
    accounts: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[RunningServer]:
    """Run Postfix; ``strict`` refuses pipelining out of turn and bare newlines, ``settings`` go to main.cf."""
    program = require_program("Postfix", "postfix")
    if os.geteuid() != 0:
        unavailable("Postfix", "its master process starts as root only")
    with server_folder("postfix") as folder, reserved_port() as port:
        log = folder / "maillog"
        _write_configuration(folder, port, _main(folder, tls, strict=strict, with_auth=bool(accounts)), settings or {})
        if accounts:
            _write_accounts(folder, accounts)
        _command(program, folder, "start")
        try:
            wait_until_it_greets("Postfix", port, lambda: text_of(log), lambda: True)
            yield RunningServer(
                name="Postfix",
                port=port,
                tls=tls,
                accounts=accounts or {},
                read_ledger=lambda: _read_ledger(text_of(log)),
                read_log=lambda: text_of(log),
            )
        finally:
            _command(program, folder, "abort")


def _main(folder: Path, tls: ServerTls | None, *, strict: bool, with_auth: bool) -> str:
    text = _MAIN.format(folder=folder)
    if strict:
        text += _STRICT
    if tls is not None:
        text += _TLS.format(chain=tls.chain, key=tls.key, implicit="yes" if tls.implicit else "no")
    if with_auth:
        text += _AUTH.format(folder=folder, realm=_REALM)
    return text


def _write_configuration(folder: Path, port: int, main: str, settings: Mapping[str, str]) -> None:
    configuration = folder / "etc"
    for each in (configuration, folder / "queue", folder / "data"):
        each.mkdir()
    shutil.chown(folder / "data", "postfix")
    _write_queue(folder / "queue")
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    (configuration / "main.cf").write_text(main + "".join(lines), "utf-8")
    # Postfix waits until main.cf is two seconds old, lest it read half a file.
    a_while_ago = time.time() - 60
    os.utime(configuration / "main.cf", (a_while_ago, a_while_ago))
    (configuration / "master.cf").write_text(_MASTER.format(port=port), "utf-8")
    (folder / "recipients").write_text(_RECIPIENTS, "utf-8")


def _write_queue(queue: Path) -> None:
    """Make the queue's folders, so that the start need not check for them."""
    for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "trace"):
        (queue / name).mkdir(mode=0o700)
        shutil.chown(queue / name, "postfix")
    for name, mode in (("public", 0o2710), ("maildrop", 0o1730)):
        (queue / name).mkdir()
        shutil.chown(queue / name, "postfix", "postdrop")
        (queue / name).chmod(mode)
    (queue / "pid").mkdir()
    (queue / "quick-start").touch()


def _write_accounts(folder: Path, accounts: Mapping[str, str]) -> None:
    saslpasswd2 = require_program("Cyrus SASL", "saslpasswd2")
    # Debian's Postfix looks in its configuration folder, whatever cyrus_sasl_config_path says.
    sasl = folder / "etc" / "sasl"
    sasl.mkdir()
    (sasl / "smtpd.conf").write_text(_SASL.format(folder=folder), "utf-8")
    database = sasl / "sasldb2"
    for user, password in accounts.items():
        command = [saslpasswd2, "-p", "-c", "-f", str(database), "-u", _REALM, user]
        subprocess.run(command, input=password, text=True, check=True, timeout=30)
    shutil.chown(database, "postfix")


def _command(program: str, folder: Path, verb: str) -> None:
    command = [program, "-c", str(folder / "etc"), verb]
    # A file, not a pipe: the daemons inherit it and would keep a pipe open.
    with (folder / f"{verb}.out").open("w") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, timeout=60)
    if done.returncode and verb == "start":
        log = text_of(folder / "maillog")
        raise RuntimeError(f"postfix {verb} ended with {done.returncode}:\n{text_of(folder / f'{verb}.out')}\n{log}")


def _read_ledger(log: str) -> list[Taken]:
    message_ids = dict(_MESSAGE_ID.findall(log))
    return [(recipient, message_ids.get(queue_id, "")) for queue_id, recipient in _DISCARDED.findall(log)]

"""Haraka: PIPELINING without CHUNKING, and 503 for whatever comes behind the final dot in the same segment.

A plugin of this file's is its queue: it writes what it takes into a file, which is the ledger. Recipients whose local
part begins with ``bad`` get a 550, with ``temp`` a 450.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path
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

_PROGRAM = Path(__file__).parents[2] / ".cache" / "servers" / "haraka" / "node_modules" / "Haraka" / "bin" / "haraka"

_PLUGIN = """\
const fs = require("node:fs");
exports.register = function () {
  this.register_hook("rcpt", "judge");
  this.register_hook("queue", "keep");
};
exports.judge = function (next, connection, params) {
  const user = params[0].user;
  if (user.startsWith("bad")) return next(DENY, "no such user");
  if (user.startsWith("temp")) return next(DENYSOFT, "come back later");
  next(OK);
};
exports.keep = function (next, connection) {
  const transaction = connection.transaction;
  const id = transaction.header.get("Message-ID").trim();
  const lines = transaction.rcpt_to.map((to) => JSON.stringify([`${to.user}@${to.host}`, id]) + "\\n");
  fs.appendFileSync(LEDGER, lines.join(""));
  next(OK, "kept");
};
"""


@contextlib.contextmanager
def haraka(*, tls: ServerTls | None = None, accounts: Mapping[str, str] | None = None) -> Iterator[RunningServer]:
    """Run Haraka in clear text. Raises :exc:`ValueError` for TLS and accounts, which no test asks of it."""
    if tls or accounts:
        raise ValueError("Haraka runs in clear text and without accounts here")
    node = require_program("Haraka", "node")
    if not _PROGRAM.is_file():
        unavailable("Haraka", "tests/servers/fetch.sh has not installed it")
    with server_folder("haraka") as folder, reserved_port() as port:
        ledger, output = folder / "ledger", folder / "output"
        _configure(folder, port, ledger)
        with output.open("wb") as log:
            process = subprocess.Popen([node, str(_PROGRAM), "-c", str(folder)], stdout=log, stderr=log)
        try:
            wait_until_it_greets("Haraka", port, lambda: text_of(output), lambda: process.poll() is None)
            yield RunningServer(
                name="Haraka", port=port, read_ledger=lambda: _read_ledger(ledger), read_log=lambda: text_of(output)
            )
        finally:
            process.kill()
            process.wait()


def _configure(folder: Path, port: int, ledger: Path) -> None:
    config, plugins = folder / "config", folder / "plugins"
    config.mkdir()
    plugins.mkdir()
    # The one file that Haraka does not start without.
    shutil.copy(_PROGRAM.parents[1] / "config" / "connection.ini", config)
    (config / "smtp.ini").write_text(f"listen=127.0.0.1:{port}\nnodes=0\n", "utf-8")
    (config / "me").write_text("haraka.test\n", "utf-8")
    (config / "plugins").write_text("keep\n", "utf-8")
    (config / "loglevel").write_text("ERROR\n", "utf-8")
    (plugins / "keep.js").write_text(_PLUGIN.replace("LEDGER", json.dumps(str(ledger))), "utf-8")


def _read_ledger(path: Path) -> list[Taken]:
    entries = [json.loads(line) for line in text_of(path).splitlines()]
    return [(address, message_id) for address, message_id in entries]

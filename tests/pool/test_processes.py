"""The pool across a fork, and under gevent's monkey patching: each in a process of its own, as in production."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from robust_email.testing import Fault, Reply, Script, ScriptedServer
from robust_email.testing.faults import At

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority

COMMON = """
import sys
from robust_email.smtp import Envelope, MailData, SmtpConfig, SubmissionClient, Timeouts, TlsMode, TlsPolicy, PoolLimits

port, cafile = int(sys.argv[1]), sys.argv[2]
config = SmtpConfig(
    host="127.0.0.1", port=port, timeouts=Timeouts.uniform(20.0), pool=PoolLimits(size=3),
    tls=TlsPolicy(TlsMode.STARTTLS, cafile=cafile) if cafile else TlsPolicy(),
)
client = SubmissionClient(config)

def submit(number):
    mail = MailData.from_bytes(b"Message-ID: <%d@example.org>\\r\\n\\r\\nhello\\r\\n" % number)
    return client.submit(Envelope.of("a@example.org", ["b@example.org"]), mail).all_accepted
"""

FORK = """
import os
assert submit(1)
child = os.fork()
if not child:
    assert client.pool.stats().idle == 0, "the child took its parent's session"
    assert submit(2)
    client.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert client.pool.stats().idle == 1
assert submit(3)
client.close()
"""

FORK_WHILE_LEASED = """
import os
from contextlib import ExitStack
with client.lease() as session:
    child = os.fork()
    if not child:
        assert submit(1)
if not child:
    assert client.pool.stats().leased == 0
    client.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert client.pool.stats().idle == 1
assert submit(2)
client.close()
"""

GEVENT = """
import gevent
from gevent.pool import Pool
results = Pool(12).map(submit, range(60))
assert all(results), results
stats = client.pool.stats()
assert stats.leased == 0 and stats.opened <= 3, stats
with gevent.Timeout(0.2, False):
    submit(1000)  # the server keeps silent: the greenlet is interrupted where it waits
stats = client.pool.stats()
assert stats.leased == 0, stats
assert submit(1001)
client.close()
"""


def run(code: str, server: ScriptedServer, cafile: str = "", *, before: str = "") -> None:
    """Run the code in a Python of its own; its standard error explains a failure."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", before + COMMON + code, str(server.port), cafile],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_forked_child_opens_its_own_sessions(smtp_certs: CertificateAuthority, *, encrypted: bool) -> None:
    """The child neither uses nor ends what it inherited: the parent's session goes on, over TLS as well."""
    script = Script(starttls=smtp_certs.server_context() if encrypted else None)
    with ScriptedServer(script) as server:
        run(FORK, server, str(smtp_certs.ca_file) if encrypted else "")
        assert server.connections == 2
        by_connection = {message.message_id: message.connection for message in server.accepted}
        assert by_connection == {"<1@example.org>": 1, "<2@example.org>": 2, "<3@example.org>": 1}


def test_a_fork_amid_a_lease_leaves_the_session_to_the_parent() -> None:
    """Forked by whoever holds a session: the child's copy is dropped without a word."""
    with ScriptedServer() as server:
        run(FORK_WHILE_LEASED, server)
        by_connection = {message.message_id: message.connection for message in server.accepted}
        assert by_connection == {"<1@example.org>": 2, "<2@example.org>": 1}


@pytest.mark.gevent
@pytest.mark.parametrize("encrypted", [False, True])
def test_greenlets_share_the_pool(smtp_certs: CertificateAuthority, *, encrypted: bool) -> None:
    """60 mails from 12 greenlets over 3 sessions; one that is interrupted loses its session, and the pool no place."""
    pytest.importorskip("gevent")
    silent = Fault(At.MAIL, Reply(delay=5.0), subject="", skip=60, times=1)
    script = Script(starttls=smtp_certs.server_context() if encrypted else None, faults=[silent])
    with ScriptedServer(script) as server:
        before = "from gevent import monkey; monkey.patch_all()\n"
        run(GEVENT, server, str(smtp_certs.ca_file) if encrypted else "", before=before)
        taken = {message.message_id for message in server.accepted}
        assert taken >= {f"<{n}@example.org>" for n in range(60)} | {"<1001@example.org>"}
        assert server.connections <= 4

"""The same network code under gevent's monkey patching, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gevent

SOURCES = Path(__file__).parents[2] / "src"

PROGRAM = """
from gevent import monkey
monkey.patch_all()

import sys, threading, time
sys.path.insert(0, sys.argv[1])
certfile, keyfile, cafile = sys.argv[2:]

import socket, ssl
import gevent
from robust_email.smtp.config import SmtpConfig, TlsMode, TlsPolicy
from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.net.connector import Connector
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.resolver import Resolver

BODY = 8_000_000
listener = socket.create_server(("127.0.0.1", 0))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certfile, keyfile)

def serve(connection):
    with context.wrap_socket(connection, server_side=True) as tls:
        tls.sendall(b"220 hi\\r\\n")
        count = 0
        gevent.sleep(0.2)  # long enough for the client to fill every buffer between them
        while count < BODY:
            gevent.sleep(0.001)
            count += len(tls.recv(65536))
        tls.sendall(b"250 %d\\r\\n" % count)

def accept():
    while True:
        gevent.spawn(serve, listener.accept()[0])

gevent.spawn(accept)
beats = []

def beat():
    while True:
        gevent.sleep(0.02)
        beats.append(time.monotonic())

def read(stream, deadline):
    while (octets := stream.read_some()) is None:
        stream.wait(True, False, deadline)
    return octets

def submit():
    deadline = Deadline.after(20.0)
    policy = TlsPolicy(TlsMode.IMPLICIT, cafile=cafile)
    stream = Connector(SmtpConfig("localhost", listener.getsockname()[1], tls=policy)).connect(deadline)
    assert read(stream, deadline) == b"220 hi\\r\\n"
    assert stream.liveness().alive
    rest, waits = memoryview(b"x" * BODY), 0
    while rest:
        taken = stream.write_some(rest)
        rest = rest[taken:]
        if not taken:
            waits += 1
            stream.wait(False, True, deadline)
    assert read(stream, deadline) == b"250 %d\\r\\n" % BODY
    stream.close()
    return waits

beating = gevent.spawn(beat)
waits = gevent.joinall([gevent.spawn(submit) for _ in range(4)], raise_error=True)
assert sum(job.value for job in waits) > 0, "no write ever blocked: nothing was tested"
assert len(beats) > 3, "the hub was starved"

def hang(host, port, *, type):
    gevent.sleep(5.0)

beats.clear()
began = time.monotonic()
try:
    Resolver(getaddrinfo=hang).resolve("mx.test", 25, Deadline.after(0.3))
except SessionFailure:
    assert 0.3 <= time.monotonic() - began < 1.0
else:
    raise AssertionError("no failure")
assert len(beats) > 3, "waiting for DNS blocked the hub"

silent = socket.create_server(("127.0.0.1", 0))
beats.clear()
began = time.monotonic()
stream = Connector(SmtpConfig("127.0.0.1", silent.getsockname()[1])).connect(Deadline.after(5.0))
try:
    stream.wait(True, False, Deadline.after(0.3))
except TimeoutError:
    assert 0.3 <= time.monotonic() - began < 1.0
else:
    raise AssertionError("no time-out")
assert len(beats) > 3, "waiting for octets blocked the hub"
stream.abort()
print("passed")
"""


def test_streams_resolver_and_connector_yield_to_other_greenlets(tmp_path: Path) -> None:
    """Four greenlets write past full buffers over TLS, others keep running, and deadlines hold."""
    pytest.importorskip("gevent")
    from robust_email.testing.certs import CertificateAuthority

    authority = CertificateAuthority(tmp_path)
    files = [str(path) for path in (*authority.files(), authority.ca_file)]
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(SOURCES), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "passed"), done.stderr

"""The process's clients: shared, bounded, forgotten where they must be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from django.test import override_settings

from robust_email.backend import RobustSMTPEmailBackend
from robust_email.registry import ClientKey, Registry, registry
from robust_email.smtp import SmtpConfig, SubmissionClient
from robust_email.smtp.events import SessionOpened
from tests.contract.ways import by_hand, letter, where

if TYPE_CHECKING:
    import pytest

    from robust_email.smtp.events import Event, Listener
    from robust_email.testing import ScriptedServer


def key(port: int) -> ClientKey:
    """Give a key that differs by its port."""
    return ClientKey(SmtpConfig(host="mail.example.org", port=port))


def make_for(wanted: ClientKey) -> SubmissionClient:
    """Make a client that connects to nothing."""
    return SubmissionClient(wanted.config)


def test_equal_configurations_share_one_client() -> None:
    """The same key gives the same client; another key another one."""
    clients = Registry()
    first = clients.client(key(25), lambda _: make_for(key(25)))
    assert clients.client(key(25), lambda _: make_for(key(25))) is first
    assert clients.client(key(587), lambda _: make_for(key(587))) is not first


def test_the_least_recently_used_goes_first() -> None:
    """Beyond its bound the registry forgets the client that was used longest ago."""
    clients = Registry(most_clients=2)
    for port in (1, 2, 1, 3):
        clients.client(key(port), lambda _, port=port: make_for(key(port)))  # type: ignore[misc]  # binds the loop's port
    assert [kept.config.port for kept in clients.clients()] == [1, 3]


def test_threads_that_come_at_once_get_the_same_client() -> None:
    """Two threads that both make a client end up with one."""
    clients, gate, got = Registry(), threading.Barrier(2), []

    def make(_: Listener) -> SubmissionClient:
        gate.wait(5)
        return make_for(key(25))

    threads = [threading.Thread(target=lambda: got.append(clients.client(key(25), make))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 2
    assert got[0] is got[1]


def test_a_hundred_messages_in_as_many_backends_open_one_connection(smtp_server: ScriptedServer) -> None:
    """Django makes a backend per send_mail(); the sessions outlive them."""
    for _ in range(30):
        assert by_hand(RobustSMTPEmailBackend, **where(smtp_server)).send_messages([letter()]) == 1
    assert smtp_server.connections == 1


def test_changed_settings_end_idle_sessions(smtp_server: ScriptedServer) -> None:
    """override_settings of an EMAIL_* setting ends the idle sessions with QUIT; other settings do not."""
    by_hand(RobustSMTPEmailBackend, **where(smtp_server)).send_messages([letter()])
    with override_settings(TIME_ZONE="UTC"):
        assert registry.clients()
    with override_settings(EMAIL_POOL_SIZE=2):
        assert not registry.clients()
    smtp_server.wait_for(lambda server: server.commands["QUIT"] == 1)


def test_a_forked_child_has_sessions_of_its_own(smtp_server: ScriptedServer) -> None:
    """After fork the child opens its own connection and the parent goes on with its own, though the lock was held."""
    backend = by_hand(RobustSMTPEmailBackend, **where(smtp_server))
    backend.send_messages([letter("parent@example.org")])
    with registry._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for ever must fail the test, not hold it up
            try:
                os._exit(backend.send_messages([letter("child@example.org")]))
            finally:
                os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    backend.send_messages([letter("parent@example.org")])
    assert [message.connection for message in smtp_server.accepted] == [1, 2, 1]
    assert smtp_server.transcript(1).commands.count("QUIT") == 0


def test_a_process_ends_at_once_and_says_quit(smtp_server: ScriptedServer) -> None:
    """At exit idle sessions get a QUIT whose answer nobody waits for, and no warning is left behind."""
    script = (
        "import django; from django.conf import settings\n"
        f"settings.configure(EMAIL_POOL_SIZE=2, EMAIL_TIMEOUT_UNUSED=1)\n"
        "django.setup()\n"
        "from django.core.mail import EmailMessage\n"
        "from robust_email.backend import RobustSMTPEmailBackend\n"
        f"backend = RobustSMTPEmailBackend(host={smtp_server.host!r}, port={smtp_server.port}, alias=None)\n"
        "print(backend.send_messages([EmailMessage('s', 'b', 'a@example.org', ['b@example.org'])]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr
    assert "Warning" not in ended.stderr
    smtp_server.wait_for(lambda server: server.commands["QUIT"] == 1)


def test_listeners_hear_of_clients_that_exist_already(
    smtp_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """subscribe() reaches every client; a listener that raises costs nobody anything; unsubscribe() ends it."""
    heard: list[Event] = []

    def failing(_: Event) -> None:
        raise RuntimeError("broken")

    backend = by_hand(RobustSMTPEmailBackend, **where(smtp_server))
    client = backend.client()
    registry.subscribe(failing)
    registry.subscribe(heard.append)
    try:
        assert backend.send_messages([letter()]) == 1
    finally:
        registry.unsubscribe(heard.append)
        registry.unsubscribe(failing)
    assert backend.client() is client
    assert any(isinstance(event, SessionOpened) for event in heard)
    assert "A listener failed" in caplog.text
    before = len(heard)
    backend.send_messages([letter()])
    assert len(heard) == before

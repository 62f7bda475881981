"""A secret that is replaced while a mail is under way: that mail ends as it began, and the next one logs in anew."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from robust_email.credentials.sources import provider_of
from robust_email.smtp import Credentials, PoolLimits, SubmissionClient
from robust_email.testing import Script, ScriptedServer
from tests.credentials.shops import refused_logins
from tests.submission.relay import TRANSPORTS, audit, config_for, envelope, mail, submissions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VARIABLE = "SHOP_PASSWORD"


class Pause:
    """Stops the thread that has just heard a reply, once it is armed, until it is let go on."""

    def __init__(self, reply: str) -> None:
        self._reply = reply
        self._armed = threading.Event()
        self.under_way = threading.Event()
        self.over = threading.Event()

    def arm(self) -> None:
        """Stop whoever hears the reply next, and nobody after."""
        self._armed.set()

    def heard(self, who: str, text: str) -> None:
        """Take a line of the dialogue."""
        if who == "S" and text.startswith(self._reply) and self._armed.is_set():
            self._armed.clear()
            self.under_way.set()
            assert self.over.wait(20)


class Secret:
    """The account's password, at the server and where the client finds it."""

    def __init__(self, kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.accounts = {"shop": "first"}
        self.tells = kind != "function"
        """Whether a look tells that it has changed: a function is not called but for another session."""
        self._path = path
        self._monkeypatch = monkeypatch
        self._put("first")
        places: dict[str, str | Callable[[], object]] = {
            "file": str(path),
            "env": f"env:{VARIABLE}",
            "function": lambda: os.environ[VARIABLE],
        }
        self.credentials = Credentials("", provider=provider_of(places[kind], "shop"))

    def _put(self, password: str) -> None:
        self._path.with_suffix(".new").write_text(password)
        self._path.with_suffix(".new").replace(self._path)
        self._monkeypatch.setenv(VARIABLE, password)

    def rotate(self) -> None:
        """Replace it at both places; the server takes the old one no longer."""
        self.accounts["shop"] = "second"
        self._put("second")


@pytest.fixture(params=["file", "env", "function"])
def secret(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Secret:
    """Give a password that is kept in each of the places."""
    return Secret(request.param, tmp_path / "secret", monkeypatch)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """Give one thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_a_secret_replaced_while_a_mail_is_under_way(secret: Secret, thread: ThreadPoolExecutor) -> None:
    """The mail is accepted in the old session, which then ends; every later mail goes by one new log-in."""
    pause = Pause("354")
    script = Script(accounts=secret.accounts, require_auth=True, extensions=TRANSPORTS["stepwise"])
    with ScriptedServer(script) as server:
        config = config_for(server, credentials=secret.credentials, pool=PoolLimits(size=2))
        client = SubmissionClient(config, transcript=lambda: pause.heard)
        reports = [client.submit(envelope(), mail(1))]
        pause.arm()
        under_way = thread.submit(client.submit, envelope(), mail(2))
        assert pause.under_way.wait(10)
        secret.rotate()
        reports.append(client.submit(envelope(), mail(3)))
        pause.over.set()
        reports += [under_way.result(10), client.submit(envelope(), mail(4)), client.submit(envelope(), mail(5))]
        client.close()
    assert all(report.all_accepted for report in reports)
    assert audit(reports, server.accepted) == []
    taken = [(message.message_id.partition("@")[0], message.connection) for message in server.accepted]
    assert taken == [("<1", 1), ("<3", 2), ("<2", 1), ("<4", 2), ("<5", 2)]
    assert (server.commands["AUTH"], refused_logins(server)) == (2, 0)
    assert server.transcript(1).verbs[-1] == "QUIT"


@pytest.mark.parametrize("transport", list(TRANSPORTS))
def test_a_secret_replaced_while_a_batch_is_under_way(
    secret: Secret, transport: str, thread: ThreadPoolExecutor
) -> None:
    """No mail of it is lost or taken twice, and who comes after it logs in with the new secret, if it can be known."""
    pause = Pause("250 2.0.0")
    script = Script(accounts=secret.accounts, require_auth=True, extensions=TRANSPORTS[transport])
    with ScriptedServer(script) as server:
        config = config_for(server, credentials=secret.credentials, pool=PoolLimits(size=2))
        client = SubmissionClient(config, transcript=lambda: pause.heard)
        pause.arm()
        batch = thread.submit(lambda: list(client.submit_many(submissions(20))))
        assert pause.under_way.wait(10)
        secret.rotate()
        pause.over.set()
        reports = [report for _, report in batch.result(10)]
        reports.append(client.submit(envelope(), mail(21)))
        client.close()
    assert all(report.all_accepted for report in reports)
    assert audit(reports, server.accepted) == []
    sessions = 2 if secret.tells else 1
    assert (server.commands["AUTH"], refused_logins(server)) == (sessions, 0)
    assert [message.connection for message in server.accepted if message.message_id == "<21@example.org>"] == [sessions]

"""A person's consent by device code and by browser, and the command that walks through it."""

from __future__ import annotations

import io
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from robust_email.credentials.consent import Client, ConsentFailed, by_browser, by_device
from robust_email.credentials.oauth_settings import Consent
from robust_email.registry import registry
from robust_email.testing import Script, ScriptedServer
from tests.contract.ways import legacy_settings
from tests.credentials.oauth_server import OAuthServer, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tokens() -> Iterator[OAuthServer]:
    """Give an authorization server."""
    with OAuthServer(account={"shop": ""}) as server:
        yield server
    registry.close()


def client(tokens: OAuthServer) -> Client:
    """Describe the server for a person's consent."""
    consent = Consent(f"{tokens.url}/authorize", f"{tokens.url}/token", f"{tokens.url}/devicecode", "mail")
    return Client(consent, tokens.client_id, tokens.client_secret)


class Naps:
    """Sleeps that take no time."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        """Note how long it would have been."""
        self.seconds.append(seconds)


def browse(url: str) -> str:
    """Go where a browser would, redirects included, and return the last page."""
    with urllib.request.urlopen(url, timeout=10) as page:  # noqa: S310 - the loopback
        text: str = page.read().decode()
    return text


def test_a_code_is_typed_in_elsewhere(tokens: OAuthServer) -> None:
    """RFC 8628: the person is shown address and code, the server is asked at its pace, a refresh token is the end."""
    tokens.pending = 2
    shown: list[tuple[str, str]] = []
    naps = Naps()
    token = by_device(client(tokens), lambda url, code: shown.append((url, code)), naps)
    assert shown == [(f"{tokens.url}/device", "ABCD-EFGH")]
    assert token.refresh_token == "hunter2-refresh-0"
    assert naps.seconds == [1, 1, 1]


def test_a_server_that_wants_to_be_asked_less_often_is(tokens: OAuthServer) -> None:
    """slow_down adds five seconds for good."""
    tokens.faults += [Refusal("slow_down"), Refusal("slow_down")]
    naps = Naps()
    by_device(client(tokens), lambda *_: None, naps)
    assert naps.seconds == [1, 6, 11, 11]


@pytest.mark.parametrize("error", ["access_denied", "expired_token"])
def test_a_refused_code_ends_the_walk(error: str, tokens: OAuthServer) -> None:
    """Who says no is not asked again."""
    tokens.faults += [Refusal(error)]
    with pytest.raises(ConsentFailed, match=error):
        by_device(client(tokens), lambda *_: None, Naps())
    assert len(tokens.requests) == 1


def test_nobody_waits_for_a_person_for_ever(tokens: OAuthServer) -> None:
    """When the code's life is over, so is the walk."""
    tokens.pending = 10_000
    naps = Naps()
    with pytest.raises(ConsentFailed, match="in time"):
        by_device(client(tokens), lambda *_: None, naps)
    assert sum(naps.seconds) == 900


def test_a_browser_comes_back_with_a_code(tokens: OAuthServer) -> None:
    """RFC 8252 and PKCE: state and verifier fit, and the person is told to go back to the terminal."""
    pages: list[str] = []
    threads: list[threading.Thread] = []

    def show(url: str) -> None:
        threads.append(threading.Thread(target=lambda: pages.append(browse(url))))
        threads[-1].start()

    token = by_browser(client(tokens), show, seconds=10.0)
    threads[0].join()
    assert token.refresh_token == "hunter2-refresh-0"
    assert pages == ["Done. You may close this window and go back to the terminal."]


def come_back(url: str, query: str) -> threading.Thread:
    """Send a browser straight to where it should come back to, with an answer of one's own."""
    from urllib.parse import parse_qs, urlsplit

    asked = parse_qs(urlsplit(url).query)
    target = f"{asked['redirect_uri'][0]}/?{query.format(state=asked['state'][0])}"

    def run() -> None:
        try:
            browse(target)
        except urllib.error.HTTPError as error:
            error.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_an_answer_that_was_not_asked_for_is_ignored(tokens: OAuthServer) -> None:
    """RFC 6749 10.12: a code with another state is somebody else's; the right one is still waited for."""
    threads: list[threading.Thread] = []

    with pytest.raises(ConsentFailed, match="did not come back in time"):
        by_browser(client(tokens), lambda url: threads.append(come_back(url, "code=evil&state=guess")), seconds=0.5)
    threads[0].join()
    assert tokens.requests == []


@pytest.mark.parametrize(
    ("query", "words"), [("error=access_denied&state={state}", "access_denied"), ("state={state}", "gave no code")]
)
def test_a_person_who_says_no_in_the_browser(query: str, words: str, tokens: OAuthServer) -> None:
    """The server's word for it ends the walk."""
    threads: list[threading.Thread] = []
    with pytest.raises(ConsentFailed, match=words):
        by_browser(client(tokens), lambda url: threads.append(come_back(url, query)), seconds=10.0)
    threads[0].join()


def settings(tokens: OAuthServer, server: ScriptedServer, file: Path, **oauth: str) -> dict[str, Any]:
    """Configure a project for both servers."""
    return {
        "EMAIL_HOST": server.host,
        "EMAIL_PORT": server.port,
        "EMAIL_HOST_USER": "shop",
        "EMAIL_CONNECTION_RETRY_DELAY": 0,
        "EMAIL_OAUTH": {
            "provider": "generic",
            "client_id": tokens.client_id,
            "client_secret": tokens.client_secret,
            "token_url": f"{tokens.url}/token",
            "device_url": f"{tokens.url}/devicecode",
            "refresh_token_file": str(file),
            **oauth,
        },
    }


def run(*arguments: str) -> str:
    """Call the command; give what it said."""
    out = io.StringIO()
    call_command("email_oauth", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_walks_a_person_through(tokens: OAuthServer, tmp_path: Path) -> None:
    """Consent, a file for its owner alone, a token, a log-in; the second time nobody is asked. No secret is shown."""
    file = tmp_path / "refresh"
    tokens.pending, tokens.interval = 0, 0.01
    with ScriptedServer(Script(accounts=tokens.account, require_auth=True)) as server:
        with legacy_settings(**settings(tokens, server, file)):
            said = run()
            registry.close()
            again = run("--no-login")
        assert server.commands["AUTH"] == 1
    assert said.splitlines() == [
        f"Open {tokens.url}/device on any device and type in ABCD-EFGH.",
        f"The refresh token is in {file}, readable for this account alone.",
        "The token server gives access tokens.",
        f"Logged in to {server.host}:{server.port}.",
    ]
    assert again.splitlines() == ["The token server gives access tokens."]
    assert file.read_text() == "hunter2-refresh-0\n"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("oauth", "fault", "words"),
    [
        ({}, Refusal("access_denied"), "no consent: access_denied."),
        ({"device_url": ""}, None, "needs 'device_url' or 'authorization_url'"),
        ({"refresh_token_file": "/no/such/folder/file"}, None, "The refresh token cannot be written"),
    ],
)
def test_what_stops_the_command_is_said(
    oauth: dict[str, str], fault: Refusal | None, words: str, tokens: OAuthServer, tmp_path: Path
) -> None:
    """A person reads what is wrong, without a traceback."""
    tokens.pending, tokens.interval = 0, 0.01
    tokens.faults += [fault] if fault else []
    with (
        ScriptedServer() as server,
        legacy_settings(**settings(tokens, server, tmp_path / "refresh", **oauth)),
        pytest.raises(CommandError, match=words) as stopped,
    ):
        run()
    assert "hunter2" not in str(stopped.value)


def test_a_refused_log_in_is_said(tokens: OAuthServer, tmp_path: Path) -> None:
    """The mail server's answer is the command's."""
    file = tmp_path / "refresh"
    file.write_text("hunter2-refresh-0")
    script = Script(accounts={"shop": "another token"}, require_auth=True)
    with (
        ScriptedServer(script) as server,
        legacy_settings(**settings(tokens, server, file)),
        pytest.raises(CommandError, match="535"),
    ):
        run()


def test_a_mailer_without_oauth_has_nothing_to_consent_to() -> None:
    """The command says which setting is missing."""
    with legacy_settings(EMAIL_HOST="mail.example.org"), pytest.raises(CommandError, match="has no EMAIL_OAUTH"):
        run()
    with (
        legacy_settings(EMAIL_OAUTH={"provider": "x"}, EMAIL_HOST_USER="shop"),
        pytest.raises(CommandError, match="must be one of"),
    ):
        run()

"""Both mechanisms for a token, XOAUTH2 and OAUTHBEARER (RFC 7628), from the token server to the accepted mail."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from robust_email.credentials.grants import GenericGrant
from robust_email.credentials.oauth import OAuthCredentials
from robust_email.credentials.stores import MemoryStore
from robust_email.smtp import (
    AuthenticationImpossible,
    AuthenticationRefused,
    Credentials,
    PoolLimits,
    Scope,
    SubmissionReport,
    error_for,
)
from robust_email.testing import Extensions, Script, ScriptedServer
from tests.credentials.oauth_server import OAuthServer
from tests.submission.relay import client_of, envelope, mail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.smtp import SubmissionClient

ACKNOWLEDGED = {"XOAUTH2": b"\r\n\r\n", "OAUTHBEARER": b"\r\nAQ==\r\n"}


@pytest.fixture
def tokens() -> Iterator[OAuthServer]:
    """Give a token server whose newest token is the password of the mailbox shop."""
    with OAuthServer(account={"shop": ""}) as server:
        yield server


@pytest.fixture(params=list(ACKNOWLEDGED))
def mechanism(request: pytest.FixtureRequest) -> str:
    """Give each mechanism, which is then the only one that the relay offers beside PLAIN."""
    return str(request.param)


def relay(accounts: dict[str, str], *mechanisms: str) -> ScriptedServer:
    """Make a mail server that takes the newest token."""
    return ScriptedServer(Script(accounts=accounts, require_auth=True, extensions=Extensions(auth=mechanisms)))


def logging_in(tokens: OAuthServer) -> Credentials:
    """Log in with the server's tokens."""
    grant = GenericGrant(f"{tokens.url}/token", tokens.client_id, tokens.client_secret, "mail")
    return Credentials("shop", provider=OAuthCredentials("shop", grant, MemoryStore()))


def by_32_threads(client: SubmissionClient) -> list[SubmissionReport]:
    """Submit a mail in each of 32 threads at the same moment."""
    barrier = threading.Barrier(32)

    def submit(number: int) -> SubmissionReport:
        barrier.wait(10)
        return client.submit(envelope(), mail(number))

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(submit, range(1, 33)))


def test_a_token_logs_in(mechanism: str, tokens: OAuthServer) -> None:
    """One token, one AUTH with the token in it, one accepted mail."""
    with (
        relay(tokens.account, "PLAIN", mechanism) as server,
        client_of(server, credentials=logging_in(tokens)) as client,
    ):
        assert client.submit(envelope(), mail()).all_accepted
        assert server.accepted[0].user == "shop"
        assert f"AUTH {mechanism} ".encode() in server.transcript().received
    assert tokens.granted == ["token-1"]


def test_a_refused_token_is_acknowledged_and_renewed_once(mechanism: str, tokens: OAuthServer) -> None:
    """JSON in a 334, the mechanism's own acknowledgement, 535; the renewed one is taken, no transcript has either."""
    lines: list[str] = []
    with relay(tokens.account, mechanism) as server, client_of(server, credentials=logging_in(tokens)) as client:
        client._transcript = lambda: lambda _who, text: lines.append(text)
        assert client.submit(envelope(), mail(1)).all_accepted
        client.close()
        tokens.revoke()
        assert client.submit(envelope(), mail(2)).all_accepted
        assert ACKNOWLEDGED[mechanism] in server.transcript(2).received
        assert b"\r\n535 " in server.transcript(2).written
    assert tokens.granted == ["token-1", "token-2"]
    written = [base64.b64encode(message).decode() for message in (b"token-1", b"n,a=shop,\1auth=Bearer token-1\1\1")]
    assert [line for line in lines if any(secret in line for secret in ["token-1", "token-2", *written])] == []


def test_a_second_refusal_fails_the_route(mechanism: str, tokens: OAuthServer) -> None:
    """A renewed token that is refused too: a person has to act, and nobody logs in again with it."""
    accounts = {"shop": "another server's token"}
    with relay(accounts, mechanism) as server, client_of(server, credentials=logging_in(tokens)) as client:
        report = client.submit(envelope(), mail())
        assert report.decisive.scope is Scope.CONFIGURATION
        assert isinstance(error_for(report), AuthenticationRefused)
        assert isinstance(error_for(client.submit(envelope(), mail())), AuthenticationImpossible)
        assert server.commands["AUTH"] == 2
        assert server.accepted == []
    assert tokens.granted == ["token-1", "token-2"]


def test_one_renewal_for_32_refused_sessions(mechanism: str, tokens: OAuthServer) -> None:
    """32 sessions whose token is refused at once: one renewal, and every mail is accepted once."""
    limits = PoolLimits(size=32)
    with (
        relay(tokens.account, mechanism) as server,
        client_of(server, credentials=logging_in(tokens), pool=limits) as client,
    ):
        assert client.submit(envelope(), mail(0)).all_accepted
        client.close()
        tokens.revoke()
        assert all(report.all_accepted for report in by_32_threads(client))
        assert len(server.accepted) == 33
    assert tokens.granted == ["token-1", "token-2"]


@pytest.mark.parametrize("offered", [("XOAUTH2", "OAUTHBEARER"), ("OAUTHBEARER", "XOAUTH2")])
@pytest.mark.parametrize("allowed", [(), ("XOAUTH2",), ("OAUTHBEARER",), ("OAUTHBEARER", "XOAUTH2")])
def test_which_of_the_two(offered: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Where both are offered, XOAUTH2 unless the configuration says otherwise; the server's order is no matter."""
    credentials = Credentials("shop", access_token="t0ken", mechanisms=allowed)
    with relay({"shop": "t0ken"}, *offered) as server, client_of(server, credentials=credentials) as client:
        assert client.submit(envelope(), mail()).all_accepted
        assert f"AUTH {(*allowed, 'XOAUTH2')[0]} ".encode() in server.transcript().received
        assert server.commands["AUTH"] == 1


def test_a_token_is_no_password() -> None:
    """Where neither is offered, or allowed, the token stays here."""
    for offered, allowed in ((("PLAIN", "LOGIN"), ()), (("OAUTHBEARER",), ("XOAUTH2",))):
        credentials = Credentials("shop", access_token="t0ken", mechanisms=allowed)
        with relay({"shop": "t0ken"}, *offered) as server, client_of(server, credentials=credentials) as client:
            assert client.submit(envelope(), mail()).decisive.scope is Scope.CONFIGURATION
            assert server.commands["AUTH"] == 0

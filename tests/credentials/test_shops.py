"""Processes that share an account while its token or its password becomes another: every mail once, no storm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from robust_email.testing import Extensions, Script, ScriptedServer
from tests.credentials.oauth_server import OAuthServer
from tests.credentials.shops import SESSIONS, each_accepted_once, refused_logins, shop

if TYPE_CHECKING:
    from pathlib import Path

A_FEW = 3
"""Mails in a session: sessions are opened all the time."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["file", "cache"])
def test_a_token_that_the_relay_refuses_in_mid_run(kind: str, tmp_path: Path, redis_url: str) -> None:
    """334 and 535 to whoever is opening a session, once each at most; one renewal for all, and no mail notices."""
    with (
        OAuthServer(account={"shop": ""}) as tokens,
        ScriptedServer(
            Script(accounts=tokens.account, require_auth=True, extensions=Extensions(auth=("XOAUTH2",)))
        ) as relay,
        shop(
            relay,
            EMAIL_HOST_USER="shop",
            EMAIL_OAUTH={
                "provider": "generic",
                "client_id": tokens.client_id,
                "client_secret": tokens.client_secret,
                "token_url": f"{tokens.url}/token",
            },
            EMAIL_OAUTH_STORE=f"file:{tmp_path / 'tokens'}" if kind == "file" else "cache",
            EMAIL_POOL_MAX_MESSAGES=A_FEW,
            CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url}},
        ) as running,
    ):
        running.wait_for_more(100)
        assert tokens.granted == ["token-1"]
        tokens.revoke()
        running.wait_for_more(SESSIONS * A_FEW + 100)
        results = running.stop()
    assert each_accepted_once(results, relay)
    assert tokens.granted == ["token-1", "token-2"]
    assert 1 <= refused_logins(relay) <= SESSIONS
    refused = [transcript for transcript in relay.transcripts if b"\r\n535 " in transcript.written]
    assert all(b"\r\n\r\n" in transcript.received for transcript in refused), "the 334 was answered by an empty line"


def test_a_key_that_is_replaced_in_mid_run(tmp_path: Path) -> None:
    """As with a cloud's access keys: both hold for a while, and then the old one ends. Nobody is refused.

    Sessions of the old key take no mail but the one that they had under way when the file was replaced.
    """
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"username": "old-key", "password": "first"}))
    accounts = {"old-key": "first", "new-key": "second"}
    with (
        ScriptedServer(Script(accounts=accounts, require_auth=True)) as relay,
        shop(relay, EMAIL_CREDENTIALS=str(secret)) as running,
    ):
        running.wait_for_more(100)
        (tmp_path / "next").write_text(json.dumps({"username": "new-key", "password": "second"}))
        (tmp_path / "next").replace(secret)
        replaced = len(relay.accepted)
        relay.wait_for(lambda it: sum(message.user == "new-key" for message in it.accepted) >= 2 * SESSIONS, 30)
        del accounts["old-key"]
        running.wait_for_more(100)
        results = running.stop()
    assert each_accepted_once(results, relay)
    assert refused_logins(relay) == 0
    assert sum(message.user == "old-key" for message in relay.accepted[replaced:]) <= SESSIONS
    assert relay.commands["AUTH"] <= 2 * SESSIONS, "a session for each thread, and another after the change"


def test_a_password_that_is_late_in_the_file(tmp_path: Path, redis_url: str) -> None:
    """The relay has the new one first: who was opening a session is refused once, and all others wait for the pause.

    A pause of five seconds, in which the file is replaced; then all mail goes on, and nobody was refused again.
    """
    secret = tmp_path / "secret"
    secret.write_text("first")
    accounts = {"shop": "first"}
    with (
        ScriptedServer(Script(accounts=accounts, require_auth=True)) as relay,
        shop(
            relay,
            EMAIL_HOST_USER="shop",
            EMAIL_CREDENTIALS=str(secret),
            EMAIL_GOVERNOR=redis_url,
            EMAIL_POOL_MAX_MESSAGES=A_FEW,
        ) as running,
    ):
        running.wait_for_more(50)
        accounts["shop"] = "second"
        with pytest.raises(TimeoutError):
            relay.wait_for(lambda _: refused_logins(relay) > SESSIONS, 2)
        assert refused_logins(relay) > 0
        (tmp_path / "next").write_text("second")
        (tmp_path / "next").replace(secret)
        running.wait_for_more(100)
        results = running.stop()
    refused = {mail for mail, text in results.items() if text != "accepted"}
    assert all(results[mail].startswith("AuthenticationRefused") for mail in refused)
    assert len(refused) == refused_logins(relay) <= SESSIONS
    assert sorted(set(results) - refused) == sorted(message.message_id for message in relay.accepted)

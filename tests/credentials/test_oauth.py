"""Tokens by OAuth 2.0 under concurrency, refusal, expiry, and token servers and stores that fail (S24)."""

from __future__ import annotations

import base64
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import caches

from robust_email.credentials.cache_store import CacheStore
from robust_email.credentials.grants import GenericGrant, RefreshToken
from robust_email.credentials.oauth import HOLD_AFTER_REFUSAL, HOLD_AFTER_TROUBLE, OAuthCredentials
from robust_email.credentials.stores import FileStore, MemoryStore
from robust_email.credentials.tokens import EXPIRY_MARGIN, Token
from robust_email.smtp import (
    AuthenticationImpossible,
    AuthenticationRefused,
    Credentials,
    CredentialsUnavailable,
    PoolLimits,
    SMTPConnectionError,
    error_for,
)
from robust_email.testing import At, Fault, Reply, Script, ScriptedServer
from tests.credentials.oauth_server import OAuthServer, Refusal
from tests.submission.relay import client_of, envelope, mail, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from robust_email.credentials.tokens import TokenStore

LIMIT = 10.0


class Clock:
    """Seconds of the Unix epoch that a test moves on."""

    def __init__(self) -> None:
        import time

        self.now = time.time()

    def __call__(self) -> float:
        """Say what time it is."""
        return self.now


@pytest.fixture
def tokens() -> Iterator[OAuthServer]:
    """Give a token server whose newest token is the password of the mailbox shop."""
    with OAuthServer(account={"shop": ""}) as server:
        yield server


@pytest.fixture(params=["memory", "file", "cache"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    """Give each kind of store, empty."""
    if request.param == "file":
        return FileStore(str(tmp_path / "tokens"))
    if request.param == "cache":
        caches["default"].clear()
        return CacheStore("default", "a secret key")
    return MemoryStore()


def grant(server: OAuthServer, **fields: Any) -> GenericGrant:  # noqa: ANN401 - the grant's fields
    """Describe the server as a client does that asks in its own name."""
    plain = GenericGrant(f"{server.url}/token", server.client_id, server.client_secret, "mail")
    return replace(plain, **fields)


def provider(server: OAuthServer, store: TokenStore | None = None, **fields: Any) -> OAuthCredentials:  # noqa: ANN401
    """Give tokens of the server for the mailbox shop."""
    clock = fields.pop("clock", None)
    made = OAuthCredentials("shop", grant(server, **fields), store or MemoryStore())
    if clock is not None:
        made._clock = clock
    return made


def relay(server: OAuthServer, **fields: Any) -> ScriptedServer:  # noqa: ANN401 - the script's fields
    """Make a mail server that takes the newest token."""
    return ScriptedServer(Script(accounts=server.account, require_auth=True, **fields))


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Do something in many threads at the same moment."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:  # noqa: ANN401 - whatever work returns
        barrier.wait(LIMIT)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_one_renewal_for_32_waiting_sessions(tokens: OAuthServer) -> None:
    """32 threads without a token, each with a session of its own to open: one request to the token server."""
    credentials = Credentials("shop", provider=provider(tokens))
    with relay(tokens) as server:
        with client_of(server, credentials=credentials, pool=PoolLimits(size=32)) as client:
            reports = together(32, lambda number: client.submit(envelope(), mail(number)))
        assert all(report.all_accepted for report in reports)
        assert len(server.accepted) == 32
    assert tokens.granted == ["token-1"]


def test_one_renewal_for_32_refused_sessions(tokens: OAuthServer) -> None:
    """32 sessions whose token is refused at once: one renewal, and every mail is accepted."""
    credentials = Credentials("shop", provider=provider(tokens))
    with relay(tokens) as server, client_of(server, credentials=credentials, pool=PoolLimits(size=32)) as client:
        assert client.submit(envelope(), mail(0)).all_accepted
        client.close()
        tokens.revoke()
        reports = together(32, lambda number: client.submit(envelope(), mail(1 + number)))
    assert all(report.all_accepted for report in reports)
    assert tokens.granted == ["token-1", "token-2"]


def test_one_renewal_for_many_providers_that_share_a_store(tokens: OAuthServer, store: TokenStore) -> None:
    """Eight workers with locks of their own on one file or cache: one request; in memory one each at most."""
    workers = [provider(tokens, store) for _ in range(8)]
    assert len(set(workers)) == 1
    values = together(8, lambda number: workers[number].token(LIMIT).value)
    if not isinstance(store, MemoryStore):
        assert tokens.granted == ["token-1"]
    assert set(values) <= set(tokens.granted)
    late = provider(tokens, store)
    before = len(tokens.granted)
    assert late.token(LIMIT).value in tokens.granted
    assert len(tokens.granted) == before


@pytest.mark.parametrize("store", ["file", "cache"], indirect=True)
def test_a_refusal_told_to_many_workers_renews_once(tokens: OAuthServer, store: TokenStore) -> None:
    """Workers that share a store and are refused with the same token find the new one there."""
    workers = [provider(tokens, store) for _ in range(4)]
    for worker in workers:
        assert worker.refused(worker.credentials(LIMIT))
    assert together(4, lambda number: workers[number].token(LIMIT).value) == ["token-2"] * 4
    assert len(tokens.granted) == 2


def test_a_refused_token_is_acknowledged_renewed_once_and_masked(tokens: OAuthServer) -> None:
    """S24: 334 with JSON, an empty line, 535; then one renewal, and no transcript has the token."""
    lines: list[str] = []
    credentials = Credentials("shop", provider=provider(tokens))
    with relay(tokens) as server, client_of(server, credentials=credentials) as client:
        client._transcript = lambda: lambda _who, text: lines.append(text)
        client.submit(envelope(), mail(1))
        client.close()
        tokens.revoke()
        assert client.submit(envelope(), mail(2)).all_accepted
        assert server.transcript(2).verbs[-1] == "AUTH"
        assert b"\r\n\r\n" in server.transcript(2).received, "the 334 was answered by an empty line"
    assert tokens.granted == ["token-1", "token-2"]
    secrets = ["token-1", "token-2", base64.b64encode(b"user=shop\1auth=Bearer token-1\1\1").decode(), "hunter2"]
    assert [line for line in lines if any(secret in line for secret in secrets)] == []


def test_a_second_refusal_fails_the_route_and_storms_nobody(tokens: OAuthServer) -> None:
    """A renewed token that is refused too: CONFIGURATION, then nobody logs in for a while, whoever tries."""
    clock = Clock()
    credentials = Credentials("shop", provider=provider(tokens, clock=clock))
    refuse = Fault(At.AUTH, Reply("535 5.7.139 SmtpClientAuthentication is disabled for the Mailbox"), times=None)
    with relay(tokens, faults=[refuse]) as server, client_of(server, credentials=credentials) as client:
        assert isinstance(error_for(client.submit(envelope(), mail())), AuthenticationRefused)
        assert (server.commands["AUTH"], len(tokens.granted)) == (2, 2)
        for _ in range(5):
            error = error_for(client.submit(envelope(), mail()))
            assert isinstance(error, AuthenticationImpossible)
            assert "renewed just now" in str(error)
        assert (server.commands["AUTH"], len(tokens.granted)) == (2, 2)
        server.clear_faults()
        clock.now += HOLD_AFTER_REFUSAL + HOLD_AFTER_TROUBLE + 1
        assert client.submit(envelope(), mail()).all_accepted
        assert len(tokens.granted) == 3


def test_a_token_is_renewed_before_it_ends(tokens: OAuthServer, store: TokenStore) -> None:
    """It is used until a minute before its end; what others have in the store meanwhile is taken."""
    clock = Clock()
    worker = provider(tokens, store, clock=clock)
    assert worker.token(LIMIT).value == worker.token(LIMIT).value
    clock.now += tokens.lifetime - EXPIRY_MARGIN - 5
    first = worker.token(LIMIT)
    clock.now += 10
    second = worker.token(LIMIT)
    assert (first.value == second.value, len(tokens.granted)) == (False, len(tokens.granted))


def test_a_token_of_a_short_life_is_used_at_all() -> None:
    """Of 40 seconds 30 are used, though the margin alone would leave none."""
    token = Token("t", expires_at=1040, obtained_at=1000)
    assert token.is_fresh(1029)
    assert not token.is_fresh(1031)


def test_a_token_in_its_last_minute_bridges_a_dead_token_server(tokens: OAuthServer) -> None:
    """Where renewing fails the old one is used to its end, and not beyond."""
    clock = Clock()
    worker = provider(tokens, clock=clock)
    first = worker.token(LIMIT).value
    tokens.faults += [Refusal("temporarily_unavailable", 503)] * 9
    clock.now += tokens.lifetime - 30
    assert worker.token(LIMIT).value == first
    clock.now += 31
    with pytest.raises(CredentialsUnavailable) as failed:
        worker.token(LIMIT)
    assert not failed.value.permanent


def test_trouble_is_shared_for_a_moment(tokens: OAuthServer) -> None:
    """A token server that fails is asked once by all who wait, and again after a pause."""
    clock = Clock()
    worker = provider(tokens, clock=clock)
    tokens.faults += [Refusal("server_error", 500)]

    def trouble(_: int) -> str:
        try:
            return worker.token(LIMIT).value
        except CredentialsUnavailable as exc:
            return str(exc)

    assert set(together(16, trouble)) == {"the token server answered server_error"}
    assert len(tokens.requests) == 1
    clock.now += HOLD_AFTER_TROUBLE + 0.1
    assert worker.token(LIMIT).value == "token-1"


@pytest.mark.parametrize(
    ("refusal", "permanent", "words_of_it"),
    [
        (Refusal("invalid_client", 401, error_description="AADSTS7000215: ann@example.org"), True, r"AADSTS7000215\)"),
        (Refusal("invalid_grant"), True, "run manage.py email_oauth again"),
        (Refusal("invalid_scope"), True, "scope"),
        (Refusal("slow_down", 429), False, "slow_down"),
        (Refusal("invalid_grant", 503), False, "invalid_grant"),
        (Refusal("", 502, body=b"<html>hunter2</html>"), False, "HTTP status 502"),
        (Refusal("", 404, body=b"not here"), True, "HTTP status 404"),
        (Refusal("", 200, body=b"<html>"), False, "no JSON"),
        (Refusal("", 200, body=b"[]"), False, "no JSON object"),
        (Refusal("", 200, body=b'{"token": 1}'), False, "no access_token"),
        (Refusal("", 302, body=b""), False, "HTTP status 302"),
        (Refusal("x" * 300, 400), True, "HTTP status 400"),
    ],
)
def test_each_answer_of_a_token_server(
    refusal: Refusal,
    permanent: bool,  # noqa: FBT001 - a parameter of the test
    words_of_it: str,
    tokens: OAuthServer,
) -> None:
    """Passing trouble or a person's work to do; redirects are not followed, and nobody's name is shown."""
    tokens.faults.append(refusal)
    with pytest.raises(CredentialsUnavailable, match=words_of_it) as failed:
        grant(tokens).obtain(None, LIMIT)
    assert failed.value.permanent is permanent
    assert "ann@" not in str(failed.value)
    assert "hunter2" not in str(failed.value)
    assert len(tokens.requests) == 1


def test_a_dead_token_server_defers_the_mail() -> None:
    """Nobody listens where tokens are given: no connection to the relay, and the mail is tried again later."""
    with OAuthServer() as gone:
        url = gone.url
    dead = OAuthCredentials("shop", GenericGrant(f"{url}/token", "id", "hunter2"), MemoryStore())
    with ScriptedServer(Script(accounts={"shop": "x"})) as server:
        with client_of(server, credentials=Credentials("shop", provider=dead)) as client:
            report = client.submit(envelope(), mail())
        assert server.connections == 0
    assert words(report) == {"ann": "deferred"}
    assert isinstance(error_for(report), SMTPConnectionError)
    assert "the token server localhost gave no answer" in report.decisive.reason


def test_a_silent_token_server_costs_the_opening_no_more_than_its_time(tokens: OAuthServer) -> None:
    """The request has a limit, and those who wait for it have theirs."""
    tokens.hold = threading.Event()
    worker = provider(tokens)

    def wait(seconds: float) -> bool:
        with pytest.raises(CredentialsUnavailable) as failed:
            worker.token(seconds)
        return failed.value.permanent

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(wait, [0.4, 0.2])) == [False, False]


def test_a_person_s_refresh_token_is_used_and_a_rotated_one_is_kept(tokens: OAuthServer, tmp_path: Path) -> None:
    """RFC 6749 6: a new refresh token replaces the old one, in the store and in the file that consent wrote."""
    tokens.rotates = True
    file = tmp_path / "refresh"
    file.write_text("hunter2-refresh-0\n")
    clock = Clock()
    worker = provider(tokens, refresh_token=RefreshToken(file=str(file)), clock=clock)
    assert worker.token(LIMIT).value == "token-1"
    assert file.read_text() == "hunter2-refresh-1\n"
    assert file.stat().st_mode & 0o777 == 0o600
    clock.now += tokens.lifetime
    assert worker.token(LIMIT).value == "token-2"
    assert [fields["refresh_token"] for fields in tokens.requests] == ["hunter2-refresh-0", "hunter2-refresh-1"]


def test_a_new_consent_replaces_a_void_refresh_token(tokens: OAuthServer, tmp_path: Path) -> None:
    """Where the server's last refresh token is void, the one that a person set is tried, without a restart."""
    file = tmp_path / "refresh"
    file.write_text("hunter2-refresh-0")
    way = grant(tokens, refresh_token=RefreshToken(file=str(file)))
    stale = Token("old", 0, 0, refresh_token="hunter2-void")
    assert way.obtain(stale, LIMIT).refresh_token == "hunter2-refresh-0"
    file.write_text("hunter2-void")
    with pytest.raises(CredentialsUnavailable, match="email_oauth"):
        way.obtain(stale, LIMIT)
    file.unlink()
    with pytest.raises(CredentialsUnavailable, match="cannot be read"):
        way.obtain(stale, LIMIT)


class Broken:
    """A store that fails at everything."""

    def __init__(self) -> None:
        self.calls = 0

    def _fail(self, *_: object) -> Any:  # noqa: ANN401 - it returns nothing
        self.calls += 1
        raise ConnectionError("redis://:hunter2@cache is gone")

    load = save = exclusive = _fail


def test_a_broken_store_costs_no_mail(tokens: OAuthServer, caplog: pytest.LogCaptureFixture) -> None:
    """Without its cache each worker renews for itself, and says so in the log without the cache's secrets."""
    broken = Broken()
    assert provider(tokens, broken).token(LIMIT).value == "token-1"
    assert broken.calls == 4
    assert "The store of access tokens cannot be written (ConnectionError)" in caplog.text
    assert "hunter2" not in caplog.text


def test_one_renewal_for_many_even_without_a_store(tokens: OAuthServer) -> None:
    """A broken cache does not make each thread ask for a token of its own."""
    worker = provider(tokens, Broken())
    assert together(16, lambda _: worker.token(LIMIT).value) == ["token-1"] * 16
    assert tokens.granted == ["token-1"]


def test_sessions_of_a_refused_token_end(tokens: OAuthServer) -> None:
    """A token that the server refused elsewhere makes its idle sessions end before their next mail."""
    shared = provider(tokens)
    with relay(tokens) as server:
        with client_of(server, credentials=Credentials("shop", provider=shared)) as client:
            client.submit(envelope(), mail(1))
            client.submit(envelope(), mail(2))
            assert client.pool.stats().opened == 1
            shared.refused(Credentials("shop", access_token="token-1"))
            assert client.submit(envelope(), mail(3)).all_accepted
            assert (client.pool.stats().opened, client.pool.stats().closed) == (2, 1)
        assert server.commands["AUTH"] == 2


def test_stores_keep_secrets_to_themselves(tokens: OAuthServer, tmp_path: Path) -> None:
    """Files are for their owner alone; a cache holds nothing readable, and another key opens nothing."""
    folder = tmp_path / "tokens"
    provider(tokens, FileStore(str(folder))).token(LIMIT)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    cache: Any = caches["default"]
    cache.clear()
    sealed = CacheStore("default", "one key")
    token = Token("hunter2-token", 2e9, 1e9, "hunter2-refresh")
    sealed.save("account", token)
    assert "hunter2" not in repr(cache._cache) + repr(token) + repr(sealed)
    assert sealed.load("account") == token
    assert CacheStore("default", "another key").load("account") is None


def test_what_is_no_token_in_a_store_is_none(tmp_path: Path) -> None:
    """A file of another version, cut short, or somebody else's, leads to a new token."""
    store = FileStore(str(tmp_path))
    store.save("account", Token("t", 2, 1))
    [file] = tmp_path.glob("*.json")
    for content in ("", "{", "[]", '{"value": "t"}', '{"value": "t", "expires_at": 2, "obtained_at": 1, "more": 3}'):
        file.write_text(content)
        assert store.load("account") is None


def test_a_lock_that_another_holds_is_waited_for_no_longer_than_allowed(store: TokenStore) -> None:
    """While one is renewing, the other gets False in time, and the lock once it is free."""
    with store.exclusive("account", 1.0) as first:
        assert first
        if not isinstance(store, MemoryStore):
            with store.exclusive("account", 0.1) as second:
                assert not second
    with store.exclusive("account", 1.0) as third:
        assert third


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork with threads is what this is about
def test_a_fork_while_a_token_is_renewed_leaves_no_lock(tokens: OAuthServer) -> None:
    """A child of a process whose other thread holds the lock gets its token all the same."""
    tokens.hold = threading.Event()
    worker = provider(tokens)
    thread = threading.Thread(target=worker.token, args=(LIMIT,))
    thread.start()
    while not worker._lock.locked():
        pass
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"1" if worker._lock.acquire(timeout=1) else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    tokens.hold.set()
    thread.join()
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    os.close(writer)

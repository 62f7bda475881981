"""The engine and credentials that change: asked for at each opening, renewed once, old sessions ended."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from robust_email.smtp import (
    AuthenticationImpossible,
    AuthenticationRefused,
    Credentials,
    CredentialsUnavailable,
    Disposition,
    PoolLimits,
    Scope,
    SMTPConnectionError,
    SubmissionReport,
    error_for,
)
from robust_email.testing import At, Fault, Reply, Script, ScriptedServer
from tests.submission.relay import client_of, envelope, mail, words


class Vault:
    """A provider whose answers a test sets. ``asked`` and ``refusals`` count."""

    def __init__(self, *passwords: str) -> None:
        self.passwords = list(passwords)
        self.user = "shop"
        self.asked = 0
        self.refusals: list[str] = []
        self.outdated: set[str] = set()
        self.error: Exception | None = None
        self._lock = threading.Lock()

    def credentials(self, seconds: float) -> Credentials:
        """Give the first password."""
        assert seconds > 0
        with self._lock:
            self.asked += 1
        if self.error is not None:
            raise self.error
        return Credentials(self.user, self.passwords[0])

    def refused(self, credentials: Credentials) -> bool:
        """Go on to the next password, if there is one."""
        self.refusals.append(credentials.password)
        if len(self.passwords) > 1:
            self.passwords.pop(0)
            return True
        return False

    def still_good(self, credentials: Credentials) -> bool:
        """Say what the test set."""
        return credentials.password not in self.outdated


def log_ins(server: ScriptedServer) -> list[str]:
    """Give the users that logged in, one for each message taken."""
    return [str(message.user) for message in server.accepted]


def from_vault(vault: Vault) -> Credentials:
    """Give the credentials of a configuration whose provider is the vault."""
    return Credentials("", provider=vault)


def reason(report: SubmissionReport) -> str:
    """Give the one recipient's reason."""
    return report.decisive.reason


def test_credentials_are_asked_for_at_each_opening_only() -> None:
    """Two mails over one session ask once; the next session asks again."""
    vault = Vault("secret")
    with ScriptedServer(Script(accounts={"shop": "secret"}, require_auth=True)) as server:
        with client_of(server, credentials=from_vault(vault)) as client:
            for number in (1, 2):
                assert words(client.submit(envelope(), mail(number))) == {"ann": "accepted"}
            assert vault.asked == 1
            client.close()
            client.submit(envelope(), mail(3))
        assert vault.asked == 2
        assert log_ins(server) == ["shop"] * 3


def test_refused_credentials_are_asked_for_once_more() -> None:
    """A 535 leads to one further log-in with what the provider gives then, and the mail is accepted."""
    vault = Vault("old", "secret")
    with ScriptedServer(Script(accounts={"shop": "secret"}, require_auth=True)) as server:
        with client_of(server, credentials=from_vault(vault)) as client:
            assert words(client.submit(envelope(), mail())) == {"ann": "accepted"}
        assert vault.refusals == ["old"]
        assert server.commands["AUTH"] == 2


@pytest.mark.parametrize("others", [(), ("worse",), ("worse", "worst")])
def test_a_second_refusal_is_a_mistake_of_configuration(others: tuple[str, ...]) -> None:
    """Never more than two log-ins for one session: a provider's lock-out is near."""
    vault = Vault("old", *others)
    with ScriptedServer(Script(accounts={"shop": "secret"}, require_auth=True)) as server:
        with client_of(server, credentials=from_vault(vault)) as client:
            report = client.submit(envelope(), mail())
        assert report.decisive.scope is Scope.CONFIGURATION
        assert isinstance(error_for(report), AuthenticationRefused)
        assert server.commands["AUTH"] == min(2, 1 + len(others))
        assert "old" not in reason(report)


def test_a_passing_refusal_is_not_the_credentials_fault() -> None:
    """454 at AUTH (RFC 4954 6) does not make the provider look for others."""
    vault = Vault("secret")
    busy = Fault(At.AUTH, Reply("454 4.7.0 Temporary authentication failure"), times=1)
    with ScriptedServer(Script(accounts={"shop": "secret"}, faults=[busy])) as server:
        with client_of(server, credentials=from_vault(vault)) as client:
            assert words(client.submit(envelope(), mail())) == {"ann": "deferred"}
        assert vault.refusals == []


def test_sessions_of_earlier_credentials_end() -> None:
    """When a password is not good any more, its idle session is closed and the next mail logs in with the new one."""
    vault = Vault("first")
    with ScriptedServer(Script(accounts={"shop": "first", "new": "second"}, require_auth=True)) as server:
        with client_of(server, credentials=from_vault(vault)) as client:
            client.submit(envelope(), mail(1))
            vault.outdated.add("first")
            vault.user, vault.passwords = "new", ["second"]
            client.submit(envelope(), mail(2))
            stats = client.pool.stats()
        assert (stats.opened, stats.closed, stats.reused) == (2, 1, 0)
        assert log_ins(server) == ["shop", "new"]
        assert server.commands["AUTH"] == 2
        assert server.commands["QUIT"] >= 1


def test_a_session_that_the_server_logged_out_is_replaced_once() -> None:
    """535 to MAIL on a used session: one fresh session with the credentials of now takes the mail."""
    vault = Vault("secret")
    with ScriptedServer(Script(accounts={"shop": "secret"}, require_auth=True)) as server:
        with client_of(server, credentials=from_vault(vault)) as client:
            client.submit(envelope(), mail(1))
            server.add_fault(Fault(At.MAIL, Reply("535 5.7.8 log in again"), times=1))
            assert words(client.submit(envelope(), mail(2))) == {"ann": "accepted"}
        assert vault.asked == 2
        assert server.connections == 2


def test_a_server_that_never_lets_us_mail_is_not_asked_without_end() -> None:
    """535 to every MAIL: refused as a mistake of configuration, after one fresh session at most."""
    with ScriptedServer(Script(faults=[Fault(At.MAIL, Reply("530 5.7.0 log in"), times=None)])) as server:
        with client_of(server) as client:
            report = client.submit(envelope(), mail())
        assert report.decisive.scope is Scope.CONFIGURATION
        assert server.connections <= 2


@pytest.mark.parametrize(
    ("error", "disposition", "kind"),
    [
        (CredentialsUnavailable("the token server is down", permanent=False), "deferred", SMTPConnectionError),
        (CredentialsUnavailable("no such file", permanent=True), "refused", AuthenticationImpossible),
        (RuntimeError("hunter2"), "deferred", SMTPConnectionError),
    ],
)
def test_without_credentials_nobody_connects(error: Exception, disposition: str, kind: type[Exception]) -> None:
    """No credentials, no connection: a verdict that tells passing trouble from a mistake, and holds no secret."""
    vault = Vault("secret")
    vault.error = error
    with ScriptedServer(Script(accounts={"shop": "secret"})) as server:
        with client_of(server, credentials=from_vault(vault)) as client:
            report = client.submit(envelope(), mail())
        assert server.connections == 0
    assert report.decisive.disposition is Disposition(disposition)
    raised = error_for(report)
    assert isinstance(raised, kind)
    assert raised.__cause__ is error
    assert "hunter2" not in str(raised) + repr(report)


def test_what_the_configuration_allows_is_kept() -> None:
    """The provider's credentials use the mechanisms that the configuration names."""
    vault = Vault("secret")
    credentials = dataclasses.replace(from_vault(vault), mechanisms=("LOGIN",))
    with ScriptedServer(Script(accounts={"shop": "secret"}, require_auth=True)) as server:
        with client_of(server, credentials=credentials, pool=PoolLimits(size=1)) as client:
            client.submit(envelope(), mail())
        assert b"AUTH LOGIN" in server.transcript().received

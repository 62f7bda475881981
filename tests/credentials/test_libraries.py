"""Microsoft's and Google's own libraries against a local server: tokens, refusals, and their words for trouble."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from robust_email.credentials.google import GoogleGrant
from robust_email.credentials.grants import RefreshToken
from robust_email.credentials.microsoft import APPLICATION_SCOPE, PERSON_SCOPE, MicrosoftGrant
from robust_email.credentials.oauth import OAuthCredentials
from robust_email.credentials.stores import MemoryStore
from robust_email.smtp import Credentials, CredentialsUnavailable, TlsMode, TlsPolicy
from robust_email.testing import Script, ScriptedServer
from robust_email.testing.certs import CertificateAuthority
from tests.credentials.oauth_server import OAuthServer, Refusal
from tests.submission.relay import client_of, envelope, mail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from robust_email.credentials.tokens import Grant

LIMIT = 10.0
REFRESH = RefreshToken("hunter2-refresh-0")

pytest.importorskip("msal", reason="the extra `microsoft` is not installed")
pytest.importorskip("google.auth", reason="the extra `google` is not installed")


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Give a throw-away authority: msal speaks https alone."""
    return CertificateAuthority(tmp_path_factory.mktemp("oauth-certs"))


@pytest.fixture
def tokens(certs: CertificateAuthority) -> Iterator[OAuthServer]:
    """Give a token server over https."""
    with OAuthServer(context=certs.server_context(), account={"shop": ""}) as server:
        yield server


@pytest.fixture(scope="module")
def service_account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the key file of a service account, as Google's console does."""
    key = rsa.generate_private_key(65_537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("google") / "key.json"
    content = {
        "type": "service_account",
        "client_email": "shop@project.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": key.decode(),
        "token_uri": "replaced by each test",
    }
    path.write_text(json.dumps(content))
    return path


def microsoft(tokens: OAuthServer, certs: CertificateAuthority, refresh: RefreshToken | None = None) -> MicrosoftGrant:
    """Describe the server as a Microsoft tenant."""
    return MicrosoftGrant(
        tenant="",
        client_id=tokens.client_id,
        client_secret=tokens.client_secret,
        refresh_token=refresh or RefreshToken(),
        authority=f"{tokens.url}/tenant",
        cafile=str(certs.ca_file),
    )


def google_person(tokens: OAuthServer, certs: CertificateAuthority) -> GoogleGrant:
    """Describe the server as Google's, with a person's refresh token."""
    return GoogleGrant(
        subject="shop",
        client_id=tokens.client_id,
        client_secret=tokens.client_secret,
        refresh_token=REFRESH,
        token_url=f"{tokens.url}/token",
        cafile=str(certs.ca_file),
    )


def google_service(tokens: OAuthServer, certs: CertificateAuthority, file: Path) -> GoogleGrant:
    """Describe the server as Google's, with a service account."""
    content = json.loads(file.read_text()) | {"token_uri": f"{tokens.url}/token"}
    file.write_text(json.dumps(content))
    return GoogleGrant(subject="shop@example.org", service_account_file=str(file), cafile=str(certs.ca_file))


@pytest.fixture(params=["microsoft-client", "microsoft-person", "google-person", "google-service"])
def grant(
    request: pytest.FixtureRequest, tokens: OAuthServer, certs: CertificateAuthority, service_account: Path
) -> Grant:
    """Give each way of the two libraries."""
    if request.param.startswith("microsoft"):
        return microsoft(tokens, certs, REFRESH if request.param.endswith("person") else None)
    if request.param == "google-person":
        return google_person(tokens, certs)
    return google_service(tokens, certs, service_account)


def test_each_way_gives_a_token_that_a_mail_server_takes(
    grant: Grant, tokens: OAuthServer, certs: CertificateAuthority
) -> None:
    """A mail is accepted over TLS by XOAUTH2, and again by a renewed token after the first was revoked."""
    script = Script(accounts=tokens.account, require_auth=True, starttls=certs.server_context())
    tls = TlsPolicy(TlsMode.STARTTLS, cafile=str(certs.ca_file))
    credentials = Credentials("shop", provider=OAuthCredentials("shop", grant, MemoryStore()))
    with ScriptedServer(script) as server, client_of(server, credentials=credentials, tls=tls) as client:
        assert client.submit(envelope(), mail(1)).all_accepted
        client.close()
        tokens.revoke()
        assert client.submit(envelope(), mail(2)).all_accepted
    assert tokens.granted == ["token-1", "token-2"]


def test_what_microsoft_is_asked_for(tokens: OAuthServer, certs: CertificateAuthority) -> None:
    """The application asks for its own right, a person's refresh token for sending alone; each time anew."""
    assert microsoft(tokens, certs).obtain(None, LIMIT).value == "token-1"
    assert microsoft(tokens, certs).obtain(None, LIMIT).value == "token-2"
    assert microsoft(tokens, certs, REFRESH).obtain(None, LIMIT).value == "token-3"
    assert [(fields["grant_type"], APPLICATION_SCOPE in fields["scope"]) for fields in tokens.requests] == [
        ("client_credentials", True),
        ("client_credentials", True),
        ("refresh_token", False),
    ]
    assert PERSON_SCOPE in tokens.requests[2]["scope"]


def test_microsoft_s_rotated_refresh_token_is_kept(tokens: OAuthServer, certs: CertificateAuthority) -> None:
    """What msal got beside the access token is used for the next renewal."""
    tokens.rotates = True
    first = microsoft(tokens, certs, REFRESH).obtain(None, LIMIT)
    assert first.refresh_token == "hunter2-refresh-1"
    assert microsoft(tokens, certs, REFRESH).obtain(first, LIMIT).value == "token-2"


def test_what_google_is_asked_for(tokens: OAuthServer, certs: CertificateAuthority, service_account: Path) -> None:
    """A service account signs with RS256 for the mailbox that it acts for; its lifetime is what the server says."""
    tokens.lifetime = 1000
    token = google_service(tokens, certs, service_account).obtain(None, LIMIT)
    [fields] = tokens.requests
    assert fields["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert 990 < token.expires_at - token.obtained_at <= 1000
    assert tokens.signed_for == [("RS256", "shop@example.org")]


@pytest.mark.parametrize("error", ["invalid_grant", "unauthorized_client"])
def test_a_refusal_is_a_person_s_work(grant: Grant, error: str, tokens: OAuthServer) -> None:
    """Each library's error becomes one that says what to do; no secret is in it."""
    tokens.faults += [Refusal(error, error_description="AADSTS70008 for ann@example.org")] * 3
    with pytest.raises(CredentialsUnavailable, match=error) as failed:
        grant.obtain(None, LIMIT)
    assert failed.value.permanent
    assert "ann@" not in str(failed.value)
    assert "hunter2" not in str(failed.value) + repr(grant) + grant.key


def test_no_answer_is_passing_trouble(grant: Grant, tokens: OAuthServer) -> None:
    """A token server that says nothing in time defers the mail."""
    tokens.hold = threading.Event()
    with pytest.raises(CredentialsUnavailable) as failed:
        grant.obtain(None, 0.3)
    assert not failed.value.permanent


def test_a_bad_key_file_is_named(tmp_path: Path, tokens: OAuthServer) -> None:
    """What is no service account's file, or not there, is a mistake that names the file."""
    path = tmp_path / "key.json"
    for content in (None, "{}", "no json"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(CredentialsUnavailable, match=str(path)) as failed:
            GoogleGrant(subject="shop", service_account_file=str(path)).obtain(None, LIMIT)
        assert failed.value.permanent
    assert tokens.requests == []


def test_a_tenant_that_cannot_be_is_a_mistake(certs: CertificateAuthority) -> None:
    """Msal refuses an authority that is no https URL with a tenant: permanent."""
    grant = MicrosoftGrant(
        tenant="", client_id="id", client_secret="x", authority="https://localhost", cafile=str(certs.ca_file)
    )
    with pytest.raises(CredentialsUnavailable) as failed:
        grant.obtain(None, LIMIT)
    assert failed.value.permanent

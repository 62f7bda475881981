"""SASL mechanisms against the RFCs' own exchanges, and against a server's side written here from the RFCs alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robust_email.smtp.protocol.sasl import (
    MAX_ITERATIONS,
    MAX_KEPT_ERROR,
    CramMd5,
    Login,
    Mechanism,
    OAuthBearer,
    Plain,
    SaslError,
    ScramSha256,
    XOAuth2,
    choose_mechanism,
    decode_challenge,
)
from robust_email.smtp.protocol.saslprep import saslprep

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "CANARY-PW"
ALL = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER")

texts = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1, max_size=20)


class ScramServer:
    """The server's side of RFC 5802 for one account, which holds what a server holds: no password."""

    def __init__(self, username: str, password: str, iterations: int = 4096) -> None:
        self.username = username
        self.salt = b"\x00salt\xff"
        self.iterations = iterations
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self.salt, iterations)
        self.stored_key = hashlib.sha256(hmac.new(salted, b"Client Key", hashlib.sha256).digest()).digest()
        self.server_key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()

    def first(self, client_first: bytes) -> bytes:
        """Answer client-first-message."""
        gs2, authzid, self.client_first_bare = client_first.split(b",", 2)
        assert (gs2, authzid) == (b"n", b"")
        user, nonce = self.client_first_bare.split(b",")
        assert user[2:].replace(b"=2C", b",").replace(b"=3D", b"=").decode() == self.username
        self.nonce = nonce[2:] + b"srv"
        self.server_first = b"r=%b,s=%b,i=%d" % (self.nonce, base64.b64encode(self.salt), self.iterations)
        return self.server_first

    def final(self, client_final: bytes) -> bytes:
        """Check the proof of client-final-message and answer with the server's signature."""
        without_proof, proof = client_final.rsplit(b",p=", 1)
        assert without_proof == b"c=" + base64.b64encode(b"n,,") + b",r=" + self.nonce
        auth_message = b",".join([self.client_first_bare, self.server_first, without_proof])
        signature = hmac.new(self.stored_key, auth_message, hashlib.sha256).digest()
        key = (int.from_bytes(base64.b64decode(proof)) ^ int.from_bytes(signature)).to_bytes(32)
        if hashlib.sha256(key).digest() != self.stored_key:
            return b"e=invalid-proof"
        return b"v=" + base64.b64encode(hmac.new(self.server_key, auth_message, hashlib.sha256).digest())


def test_plain_rfc_4616() -> None:
    """The example of RFC 4616 section 4, without authorization identity."""
    mechanism = Plain("tim", "tanstaaftanstaaf")
    assert mechanism.initial_response() == b"\0tim\0tanstaaftanstaaf"
    assert mechanism.respond(b"") == b"\0tim\0tanstaaftanstaaf"
    mechanism.verify_success(None)


def test_plain_carries_utf8() -> None:
    """A password beyond ASCII goes as UTF-8 instead of failing."""
    assert Plain("josé", "ключ").initial_response() == "\0josé\0ключ".encode()


def test_plain_knows_no_challenge() -> None:
    """A server that asks PLAIN a question does not speak PLAIN."""
    with pytest.raises(SaslError):
        Plain("u", SECRET).respond(b"what?")


@pytest.mark.parametrize("questions", [(b"Username:", b"Password:"), (b"User Name\0", b"Password\0"), (b"", b"")])
def test_login_answers_by_order(questions: tuple[bytes, bytes]) -> None:
    """LOGIN's questions are worded as each server likes."""
    mechanism: Mechanism = Login("josé", SECRET)
    assert mechanism.initial_response() is None
    assert [mechanism.respond(question) for question in questions] == ["josé".encode(), SECRET.encode()]
    with pytest.raises(SaslError):
        mechanism.respond(b"Password:")


def test_cram_md5_rfc_2195() -> None:
    """The exchange of RFC 2195 section 2."""
    mechanism: Mechanism = CramMd5("tim", "tanstaaftanstaaf")
    assert mechanism.initial_response() is None
    response = mechanism.respond(b"<1896.697170952@postoffice.reston.mci.net>")
    assert response == b"tim b913a602c7eda7a495b4e6e7334d3890"
    with pytest.raises(SaslError):
        mechanism.respond(b"<again@x>")


def test_xoauth2_as_documented() -> None:
    """Google's example; a refusal is answered with an empty response, and kept."""
    mechanism = XOAuth2("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
    assert base64.b64encode(mechanism.initial_response()) == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0"
        b"Q2cBAQ=="
    )
    assert mechanism.respond(b'{"status":"401","schemes":"bearer"}') == b""
    assert mechanism.refusal == b'{"status":"401","schemes":"bearer"}'
    with pytest.raises(SaslError):
        mechanism.respond(b"{}")


def test_oauthbearer_rfc_7628() -> None:
    """The message of RFC 7628 section 4.1 without host and port; a refusal is answered with one 0x01."""
    mechanism = OAuthBearer("user,=@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    assert mechanism.initial_response() == (
        b"n,a=user=2C=3D@example.com,\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"
    )
    assert mechanism.respond(b"x" * 10_000) == b"\1"
    assert mechanism.refusal == b"x" * MAX_KEPT_ERROR


def test_scram_rfc_7677() -> None:
    """The exchange of RFC 7677 section 3, to the octet."""
    mechanism = ScramSha256("user", "pencil", "rOprNGfwEbeRWgbNEkqO")
    assert mechanism.initial_response() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    response = mechanism.respond(b"r=%b,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096" % nonce)
    assert response == b"c=biws,r=%b,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=" % nonce
    assert mechanism.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    mechanism.verify_success(None)


@given(texts.filter(lambda text: unicodedata.is_normalized("NFKC", text) and text.isalnum()), texts)
@settings(max_examples=25, deadline=None)
def test_scram_satisfies_an_independent_server(username: str, password: str) -> None:
    """A server that knows the account accepts, and is accepted; one with another password is neither."""
    try:
        known_user, known_password = saslprep(username), saslprep(password)
        mechanism, other = (ScramSha256(username, password, "n0nce") for _ in range(2))
    except ValueError:
        return
    server = ScramServer(known_user, known_password)
    final = server.final(mechanism.respond(server.first(mechanism.initial_response())))
    assert mechanism.respond(final) == b""
    mechanism.verify_success(None)
    stranger = ScramServer(known_user, known_password + "x")
    assert stranger.final(other.respond(stranger.first(other.initial_response()))) == b"e=invalid-proof"


def test_scram_escapes_the_user_name() -> None:
    """A comma or equals sign in the name cannot end its field (RFC 5802 5.1)."""
    mechanism = ScramSha256("a,b=c", "pw", "n0nce")
    server = ScramServer("a,b=c", "pw")
    mechanism.respond(server.final(mechanism.respond(server.first(mechanism.initial_response()))))
    mechanism.verify_success(None)


def test_scram_prepares_the_password() -> None:
    """What looks the same is the same: SASLprep comes before the hash (RFC 5802 2.2)."""
    mechanism = ScramSha256("user", "\u2168\u00ad pass\u00a0word", "n0nce")
    server = ScramServer("user", "IX pass word")
    assert server.final(mechanism.respond(server.first(mechanism.initial_response()))).startswith(b"v=")


def scram_after(server_first: bytes) -> bytes:
    """Feed one server-first-message to a fresh client."""
    return ScramSha256("user", "pencil", "abc").respond(server_first)


@pytest.mark.parametrize(
    "server_first",
    [
        b"",
        b"e=unknown-user",
        b"r=abcX,s=AAAA",
        b"r=abc,s=AAAA,i=4096",
        b"r=abX,s=AAAA,i=4096",
        b"r=,s=AAAA,i=4096",
        b"r=abcX,s=,i=4096",
        b"r=abcX,s=A,i=4096",
        b"r=abcX,s=!!!!,i=4096",
        b"r=abcX,s=AAAA,i=4095",
        b"r=abcX,s=AAAA,i=0",
        b"r=abcX,s=AAAA,i=-1",
        b"r=abcX,s=AAAA,i=%d" % (MAX_ITERATIONS + 1),
        b"r=abcX,s=AAAA,i=99999999999999999999",
        b"m=ext,r=abcX,s=AAAA,i=4096",
        b"s=AAAA,r=abcX,i=4096",
        b"r=abc\nX,s=AAAA,i=4096",
        b"r=abcX,s=AAAA,i=4096\n",
    ],
)
def test_scram_refuses_a_bad_first_message(server_first: bytes) -> None:
    """Foreign or unextended nonce, unknown mandatory extension, too little or absurdly much work: no proof is given."""
    with pytest.raises(SaslError):
        scram_after(server_first)


def test_scram_ignores_optional_extensions() -> None:
    """Extensions behind the known fields may be ignored (RFC 5802 5.1)."""
    assert scram_after(b"r=abcX,s=AAAA,i=4096,x=later").startswith(b"c=biws,r=abcX,p=")


@pytest.mark.parametrize("final", [b"", b"v=", b"v=AAAA", b"v=!", b"e=other-error", b"V=" + b"A" * 44])
def test_scram_refuses_a_server_that_cannot_sign(final: bytes) -> None:
    """Who doesn't know the password is not our server, whatever code it sends."""
    mechanism = ScramSha256("user", "pencil", "abc")
    mechanism.respond(b"r=abcX,s=AAAA,i=4096")
    with pytest.raises(SaslError):
        mechanism.respond(final)
    with pytest.raises(SaslError):
        mechanism.verify_success(None)


def test_scram_refuses_success_without_a_signature() -> None:
    """A 235 in place of the server's signature is a server that skips its own proof."""
    mechanism = ScramSha256("user", "pencil", "abc")
    with pytest.raises(SaslError, match="without proving"):
        mechanism.verify_success(None)
    with pytest.raises(SaslError):
        mechanism.verify_success(b"v=AAAA")
    mechanism.respond(b"r=abcX,s=AAAA,i=4096")
    with pytest.raises(SaslError, match="without proving"):
        mechanism.verify_success(None)


def test_scram_takes_the_signature_with_the_success() -> None:
    """A profile that carries data with success may bring the signature there."""
    mechanism, server = ScramSha256("user", "pencil", "abc"), ScramServer("user", "pencil")
    final = server.final(mechanism.respond(server.first(mechanism.initial_response())))
    mechanism.verify_success(final)
    with pytest.raises(SaslError, match="over"):
        mechanism.respond(final)


@pytest.mark.parametrize("nonce", ["", "a,b", "é", "a b", "a\n"])
def test_scram_refuses_a_nonce_that_breaks_the_message(nonce: str) -> None:
    """The nonce is the caller's; a bad one is a mistake of the program."""
    with pytest.raises(ValueError, match="nonce"):
        ScramSha256("user", "pencil", nonce)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Plain, ("u\0", SECRET)),
        (Plain, ("u", SECRET + "\0")),
        (Plain, ("", SECRET)),
        (Login, ("u", "")),
        (CramMd5, ("", SECRET)),
        (XOAuth2, ("u", SECRET + "\1host=x")),
        (XOAuth2, ("u", SECRET + "\r\n")),
        (XOAuth2, ("u\1auth=Bearer x", SECRET)),
        (OAuthBearer, ("u", "a b")),
        (ScramSha256, ("u", SECRET + "\x07", "n")),
        (ScramSha256, ("\u00ad", SECRET, "n")),
        (ScramSha256, ("u", "\u0627" + SECRET, "n")),
    ],
)
def test_credentials_that_cannot_be_carried_are_refused(
    kind: Callable[..., Mechanism], arguments: tuple[str, ...]
) -> None:
    """An empty value, a separator in one, what SASLprep prohibits: known before the network, the secret not quoted."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        kind(*arguments)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_no_secret_in_repr(name: str) -> None:
    """A mechanism in a log or a trace shows its name."""
    token = SECRET if "OAUTH" in name else None
    mechanism = choose_mechanism([name], username="u", password=SECRET, access_token=token, tls=True, nonce="n")
    assert mechanism is not None
    assert repr(mechanism) == f"<{name}>"


@pytest.mark.parametrize(
    ("offered", "token", "tls", "allowed", "chosen"),
    [
        (ALL, None, True, (), "SCRAM-SHA-256"),
        (ALL, None, False, (), "SCRAM-SHA-256"),
        (("LOGIN", "PLAIN", "CRAM-MD5"), None, True, (), "PLAIN"),
        (("LOGIN", "PLAIN", "CRAM-MD5"), None, False, (), "CRAM-MD5"),
        (("login",), None, True, (), "LOGIN"),
        (("CRAM-MD5",), None, True, (), "CRAM-MD5"),
        (ALL, "t0ken", True, (), "XOAUTH2"),
        (("OAUTHBEARER", "PLAIN"), "t0ken", True, (), "OAUTHBEARER"),
        (("PLAIN", "LOGIN"), "t0ken", True, (), None),
        (("XOAUTH2", "OAUTHBEARER"), None, True, (), None),
        (ALL, None, True, ("login", "PLAIN"), "LOGIN"),
        (("PLAIN",), None, True, ("LOGIN",), None),
        (ALL, None, True, ("XOAUTH2", "PLAIN"), "PLAIN"),
        (("NTLM", "GSSAPI"), None, True, (), None),
        (("NTLM",), None, True, ("NTLM",), None),
        ((), None, True, (), None),
    ],
)
def test_one_mechanism_is_chosen(
    offered: tuple[str, ...],
    token: str | None,
    tls: bool,  # noqa: FBT001 - a table of cases
    allowed: tuple[str, ...],
    chosen: str | None,
) -> None:
    """The best that both sides know, by channel and by the kind of secret; the user's own order wins; or none."""
    mechanism = choose_mechanism(
        offered, username="u", password="pw", access_token=token, tls=tls, nonce="n", allowed=allowed
    )
    assert (mechanism and mechanism.name) == chosen


def test_challenge_is_base64() -> None:
    """A challenge must be base64, white space around it apart (RFC 4954 4)."""
    assert decode_challenge(b" AHUAcA== ") == b"\0u\0p"
    assert decode_challenge(b"") == b""
    for text in (b"?", b"A", b"AAA", b"AAAA\x00"):
        with pytest.raises(SaslError, match="base64"):
            decode_challenge(text)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("", ""),
        ("\u0627\u0628", "\u0627\u0628"),
    ],
)
def test_saslprep_rfc_4013(text: str, prepared: str) -> None:
    """The examples of RFC 4013 section 3, and a non-ASCII space."""
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u06271", "\u0627a\u0628", "a\u0627", "\ue000", "\ufffd", "\u200e"])
def test_saslprep_prohibits(text: str) -> None:
    """The examples of RFC 4013 section 3 that are errors, and others of the prohibited tables."""
    with pytest.raises(ValueError, match="RFC 4013"):
        saslprep(text)

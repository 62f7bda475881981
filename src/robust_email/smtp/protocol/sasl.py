"""SASL mechanisms for AUTH (RFC 4954), without I/O: challenge in, response out, both as plain octets.

base64 is SMTP's affair, not the mechanism's: ``commands.py`` encodes, ``decode_challenge`` decodes. One session tries
one mechanism, the best that both sides know. A client that tries the next one after a 535, as ``smtplib`` does,
spends two or three of the attempts after which a provider locks the account.

How the caller drives one::

    AUTH name [initial_response()]
    while the reply is 334:  write respond(challenge)
    on 235:  verify_success(None)       SCRAM: has the server proved that it knows the password?
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final, Protocol

from robust_email.smtp.protocol.saslprep import saslprep

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MIN_ITERATIONS: Final = 4096
"""Of SCRAM-SHA-256 (RFC 7677 4): with fewer, whoever plays the server could try passwords too cheaply."""
MAX_ITERATIONS: Final = 2_000_000
"""About a second of CPU: more is a server that wants to hold the client, not to protect the password."""
MAX_KEPT_ERROR: Final = 500
"""Octets kept of a server's account of why it refused a token."""

_SCRAM_FIELDS = re.compile(rb"r=([!-+\--~]+),s=([A-Za-z0-9+/]+=*),i=([1-9][0-9]{0,9})(?:,[A-Za-z]=[^,]*)*")
_NONCE = re.compile(r"[!-+\--~]+")
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # b64token (RFC 6750 2.1)


class SaslError(Exception):
    """The server broke the mechanism's rules, or did not prove its identity: end the session, trust nothing."""


class Mechanism(Protocol):
    """One exchange; an object serves one attempt. ``repr`` shows no secret."""

    name: str

    def initial_response(self) -> bytes | None:
        """Return what may ride with AUTH (RFC 4954 4), or None if the server speaks first."""

    def respond(self, challenge: bytes) -> bytes:
        """Return the answer to a 334. Raises SaslError if the challenge makes no sense."""

    def verify_success(self, final: bytes | None) -> None:
        """On 235: raise SaslError unless the server has proved what the mechanism lets it prove.

        ``final`` is additional data that came with the success, which SMTP has no place for: None.
        """


def decode_challenge(text: bytes) -> bytes:
    """Return the octets of a 334's text. Raises SaslError if it isn't base64."""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise SaslError("The server's challenge is not base64.") from error


class _OneWay:
    """What mechanisms share in which the server proves nothing and ``username`` is all that may be shown."""

    name: str

    def __init__(self, username: str, secret: str) -> None:
        if not username or not secret:
            raise ValueError(f"{self.name} needs a user name and a secret; one of them is empty.")
        if "\0" in username + secret:
            raise ValueError(f"{self.name} cannot carry a NUL in the user name or the secret.")
        self._username = username.encode()
        self._secret = secret.encode()

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def verify_success(self, final: bytes | None) -> None:
        """Nothing to verify: the channel (TLS) vouches for the server."""


class Plain(_OneWay):
    """PLAIN (RFC 4616). The server prepares the strings (section 2), so they go as typed, in UTF-8."""

    name = "PLAIN"

    def initial_response(self) -> bytes:
        """Everything at once, the authorization identity left to the server."""
        return b"\0%b\0%b" % (self._username, self._secret)

    def respond(self, challenge: bytes) -> bytes:
        """Answer the empty challenge of a server that did not take the initial response."""
        if challenge:
            raise SaslError("PLAIN knows no challenge, and the server sent one.")
        return self.initial_response()


class Login(_OneWay):
    """LOGIN (draft-murchison-sasl-login): two questions, whose wording differs by server and means nothing."""

    name = "LOGIN"

    def __init__(self, username: str, password: str) -> None:
        super().__init__(username, password)
        self._answers = [self._secret, self._username]

    def initial_response(self) -> None:
        """None: some servers take one, some do not."""

    def respond(self, challenge: bytes) -> bytes:  # noqa: ARG002 - see the class: the order decides, not the wording
        """Return the user name, then the password."""
        if not self._answers:
            raise SaslError("LOGIN asks twice, and the server asked again.")
        return self._answers.pop()


class CramMd5(_OneWay):
    """CRAM-MD5 (RFC 2195): keeps the password off a clear channel, and proves nothing about the server."""

    name = "CRAM-MD5"
    _done = False

    def initial_response(self) -> None:
        """None: the server speaks first."""

    def respond(self, challenge: bytes) -> bytes:
        """Return the user name and the keyed digest of the challenge, in lower-case hexadecimal."""
        if self._done:
            raise SaslError("CRAM-MD5 asks once, and the server asked again.")
        self._done = True
        return b"%b %b" % (self._username, hmac.new(self._secret, challenge, "md5").hexdigest().encode())


class _Bearer(_OneWay):
    """A token; the server explains a refusal in a 334 of its own before the 535."""

    refusal: bytes | None = None
    """The server's JSON on why it refused the token (status, schemes, scope), cut to MAX_KEPT_ERROR octets."""
    _acknowledgement = b""

    def __init__(self, username: str, access_token: str) -> None:
        super().__init__(username, access_token)
        if not _TOKEN.fullmatch(access_token):
            raise ValueError("The access token holds characters that a bearer token cannot have (RFC 6750 2.1).")
        if "\1" in username:
            raise ValueError(f"{self.name} cannot carry a control character in the user name.")

    def respond(self, challenge: bytes) -> bytes:
        """Acknowledge the refusal; only then does the server send its 535."""
        if self.refusal is not None:
            raise SaslError(f"{self.name} reports one error, and the server sent another.")
        self.refusal = challenge[:MAX_KEPT_ERROR]
        return self._acknowledgement


class XOAuth2(_Bearer):
    """XOAUTH2, as Google and Microsoft document it."""

    name = "XOAUTH2"

    def initial_response(self) -> bytes:
        """Return user and token."""
        return b"user=%b\1auth=Bearer %b\1\1" % (self._username, self._secret)


class OAuthBearer(_Bearer):
    """OAUTHBEARER (RFC 7628)."""

    name = "OAUTHBEARER"
    _acknowledgement = b"\1"

    def initial_response(self) -> bytes:
        """Return a GS2 header with the user, and the token (section 3.1)."""
        return b"n,a=%b,\1auth=Bearer %b\1\1" % (_sasl_name(self._username), self._secret)


class ScramSha256:
    """SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding: proves both sides, shows neither the password.

    Args:
        username: prepared with SASLprep here, as the password is.
        password: the same.
        nonce: printable ASCII without commas, new and unpredictable for each attempt.
    """

    name = "SCRAM-SHA-256"

    def __init__(self, username: str, password: str, nonce: str) -> None:
        self._username = _sasl_name(saslprep(username).encode())
        self._password = saslprep(password).encode()
        if not self._username or not self._password or not _NONCE.fullmatch(nonce):
            raise ValueError("SCRAM-SHA-256 needs a user name, a password and a printable nonce without commas.")
        self._nonce = nonce.encode()
        self._server_signature: bytes | None = None
        self._verified = False

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def initial_response(self) -> bytes:
        """Return client-first-message (RFC 5802 7)."""
        return b"n,," + self._first_bare

    def respond(self, challenge: bytes) -> bytes:
        """Return client-final-message for server-first-message, then an empty response for server-final-message."""
        if self._server_signature is None:
            return self._prove(challenge)
        if self._verified:
            raise SaslError("The SCRAM exchange is over, and the server sent another challenge.")
        self._verify(challenge)
        return b""

    def verify_success(self, final: bytes | None) -> None:
        """Refuse a 235 from a server that has not shown its signature: it may not know the password at all."""
        if final is not None and not self._verified:
            self._verify(final)
        if not self._verified:
            raise SaslError("The server accepted the login without proving that it knows the password.")

    @property
    def _first_bare(self) -> bytes:
        return b"n=%b,r=%b" % (self._username, self._nonce)

    def _prove(self, server_first: bytes) -> bytes:
        fields = _SCRAM_FIELDS.fullmatch(server_first)
        if not fields:
            raise SaslError("The server's first SCRAM message is malformed, or wants an unknown extension.")
        nonce, salt, iterations = fields[1], decode_challenge(fields[2]), int(fields[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise SaslError("The server's SCRAM nonce does not extend the client's.")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise SaslError(
                f"The server asks for {iterations} iterations; {MIN_ITERATIONS} to {MAX_ITERATIONS} are sane."
            )
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        without_proof = b"c=biws,r=" + nonce  # biws: the GS2 header "n,," in base64
        auth_message = b",".join((self._first_bare, server_first, without_proof))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), auth_message, "sha256")
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        self._server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth_message, "sha256")
        return b"%b,p=%b" % (without_proof, base64.b64encode(proof))

    def _verify(self, server_final: bytes) -> None:
        verifier, _, _extensions = server_final.partition(b",")
        if self._server_signature is None or not verifier.startswith(b"v="):
            raise SaslError("The server ended the SCRAM exchange with an error instead of its signature.")
        if not hmac.compare_digest(decode_challenge(verifier[2:]), self._server_signature):
            raise SaslError("The server's SCRAM signature is wrong: it does not know the password.")
        self._verified = True


BY_TOKEN: Final = ("XOAUTH2", "OAUTHBEARER")
"""XOAUTH2 first: every provider with tokens has it, and it is what they test."""
BY_PASSWORD_OVER_TLS: Final = ("SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5")
"""Over TLS nothing is gained by CRAM-MD5, for which the server must keep the password readable."""
BY_PASSWORD_IN_CLEAR: Final = ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")
"""Those that show the password come last; whether AUTH is allowed in clear at all is decided by the caller."""


def choose_mechanism(
    offered: Collection[str],
    *,
    username: str,
    password: str,
    access_token: str | None,
    tls: bool,
    nonce: str,
    allowed: Sequence[str] = (),
) -> Mechanism | None:
    """Return the one mechanism to try, or None if the server offers none that fits.

    Args:
        offered: names from the AUTH line of the latest EHLO.
        username: for every mechanism.
        password: used unless there is an access token.
        access_token: an OAuth 2.0 bearer token; given, no mechanism with a password is tried.
        tls: whether the channel is encrypted; decides the order of preference.
        nonce: for SCRAM, from a cryptographic source, new for each call.
        allowed: the user's own choice, best first; empty for this module's order.

    Raises:
        ValueError: the user name or the secret is empty or cannot be carried by the chosen mechanism.
    """
    by_secret = BY_TOKEN if access_token else BY_PASSWORD_OVER_TLS if tls else BY_PASSWORD_IN_CLEAR
    wanted = [name.upper() for name in allowed] or by_secret
    usable = {name.upper() for name in offered}.intersection(by_secret)
    chosen = next((name for name in wanted if name in usable), None)
    if chosen == ScramSha256.name:
        return ScramSha256(username, password, nonce)
    for kind in (Plain, Login, CramMd5, XOAuth2, OAuthBearer):
        if kind.name == chosen:
            return kind(username, access_token or password)
    return None


def _sasl_name(name: bytes) -> bytes:
    """Escape what separates fields (RFC 5802 5.1)."""
    return name.replace(b"=", b"=3D").replace(b",", b"=2C")
